"""A PoP of foreign programs: what cannot be served is said precisely, and what was served leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loadgen.stacks.conftest import CUSTOMER, POP, assert_nothing_left, study

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.stacks.definition import ForeignParts
from trunkproof.loadgen.stacks.foreign import ForeignTrunk
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.registry import STACKS, definition_of
from trunkproof.loadgen.stacks.server import serve
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.loadgen.system.ports import free_port
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

ROOT = Path(__file__).parents[3]
ELSEWHERE = "203.0.113.7"
"""RFC 5737: never anyone's address."""
installed = [pytest.mark.requires("kamailio"), pytest.mark.requires("rtpengine", package="rtpengine-daemon")]


def refusal(question: Study, folder: Path, port: int = 0) -> str:
    """What a user is told of a trunk that cannot be served."""
    with pytest.raises(StackError) as caught:
        asyncio.run(serve(question, folder, options=ServeOptions(port=port)))
    return str(caught.value)


def parts_of(stack: str) -> ForeignParts:
    parts = definition_of(stack).foreign
    assert parts is not None
    return parts


@contextlib.contextmanager
def taken(address: str, port: int = 0) -> Iterator[int]:
    """A port of that address that another program has."""
    with socket.socket() as other:
        other.bind((address, port))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("stack", STACKS)
def test_a_port_in_use(stack: str, tmp_path: Path) -> None:
    with taken(POP["address"]) as port:
        said = refusal(study(stack), tmp_path, port)
    assert said == f"the trunk cannot listen on 127.0.60.1:{port}: the port is in use"
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("stack", STACKS)
def test_an_address_of_another_machine(stack: str, tmp_path: Path) -> None:
    said = refusal(study(stack, pop={"address": ELSEWHERE}), tmp_path)
    assert said == f"the trunk cannot listen on {ELSEWHERE}: this machine has no such address"
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("key", ["inner_address", "carrier"])
def test_an_inner_address_of_another_machine(key: str, tmp_path: Path) -> None:
    value = {"address": ELSEWHERE} if key == "carrier" else ELSEWHERE
    said = refusal(study(pop={key: value}), tmp_path)
    assert said == f"the trunk cannot listen on {ELSEWHERE}: this machine has no such address"
    assert_nothing_left(tmp_path)


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 443,
    reason="here anybody may use port 443",
)
def test_an_ordinary_user_is_told_of_port_443(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    code = f"""
import asyncio, os
from pathlib import Path
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.registry import STACKS, definition_of
from trunkproof.loadgen.stacks.server import serve
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study
question = Study.model_validate_json('''{study().model_dump_json()}''')
if os.geteuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(serve(question, Path({str(tmp_path)!r}), options=ServeOptions(port=443)))
except StackError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "the trunk cannot listen on 127.0.60.1:443: only root may use a port below 1024\n", (
        done.stderr
    )


def test_a_program_that_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    question = tmp_path / "study.json"
    question.write_text(study().model_dump_json())
    # Whatever is installed: the places where the system keeps daemons are closed too.
    code = """
import shutil
shutil.which = lambda *args, **options: None
from trunkproof.experiments.cli.entry import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(question), "--port", "0", "--out", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PATH": ""},
    )
    assert done.returncode == ExitCode.NO_TRUNK
    assert done.stderr == "rtpengine is not installed: sudo apt-get install rtpengine-daemon\n"
    assert_nothing_left(tmp_path)


def test_everything_a_stack_cannot_play_is_told_at_once(tmp_path: Path) -> None:
    pop = {"ports": POP["ports"] | {"quarantine_s": 0.5}, "inner_address": POP["address"]}
    question = study(pop=pop, trunk={"throttle": {"policy": "sliding_window_admitted"}})
    with pytest.raises(InputError) as caught:
        asyncio.run(serve(question, tmp_path))
    places = {problem.where for problem in caught.value.problems}
    assert places == {"pop.inner_address", "pop.ports.quarantine_s", "trunks[0].throttle.policy"}


@pytest.mark.parametrize("stack", [pytest.param("kamailio", marks=installed)])
def test_a_folder_named_from_where_the_user_stands(stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        folder = Path("here")
        folder.mkdir()
        trunk = ForeignTrunk(draw_plan(study(stack)), folder, parts_of(stack), tell=print)
        try:
            card = await trunk.start()
            assert set(card.processes) == set(card.metrics) == {"rtpengine", "kamailio"}
            assert trunk.status().programs == card.processes
        finally:
            await trunk.close()

    asyncio.run(run())
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("stack", [pytest.param("kamailio", marks=installed)])
def test_a_brown_out_takes_channels_away_for_a_while(stack: str, tmp_path: Path) -> None:
    incident = {"kind": "carrier_brown_out", "at_s": 0.3, "lasts_s": 0.4, "channels": 2}

    async def run() -> list[int | None]:
        trunk = ForeignTrunk(
            draw_plan(study(stack, pop={"incidents": [incident]})), tmp_path, parts_of(stack), tell=print
        )
        await trunk.start()
        try:
            zero = asyncio.get_running_loop().time()
            trunk.begin(zero)
            seen = []
            for instant in (0.15, 0.5, 0.85):
                await asyncio.sleep(zero + instant - asyncio.get_running_loop().time())
                seen.append(trunk.carrier.limits.left)
            await trunk.finish(stop=True)
            return seen
        finally:
            await trunk.close()

    assert asyncio.run(run()) == [None, 2, None]
    assert_nothing_left(tmp_path)


def test_a_customers_port_in_use_is_told(tmp_path: Path) -> None:
    question = study("embedded", trunk={"customer_port": free_port(CUSTOMER)}, inbound_share=1)
    port = question.trunks[0].customer_port

    async def run() -> None:
        async with running_trunk(question, tmp_path) as card:
            with pytest.raises(StackError) as caught:
                await drive(draw_plan(question), card)
            assert f"cannot listen on {CUSTOMER}:{port}: the port is in use" in str(caught.value)

    with taken(CUSTOMER, port):
        asyncio.run(run())
    assert_nothing_left(tmp_path)
