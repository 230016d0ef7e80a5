"""The one list of stacks: every stack declares what others ask of it, and a third foreign one needs no more."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from tests.loadgen.stacks.conftest import study

from trunkproof.loadgen.stacks import registry
from trunkproof.loadgen.stacks.asterisk.definition import ASTERISK
from trunkproof.loadgen.stacks.definition import StackDefinition
from trunkproof.loadgen.stacks.embedded.definition import EMBEDDED
from trunkproof.loadgen.stacks.kamailio.definition import KAMAILIO
from trunkproof.loadgen.stacks.registry import STACKS, check_playable, definition_of, edge_of, is_ours, label_of
from trunkproof.models.costs import load_calibration
from trunkproof.models.errors import InputError

FOLDERS = {path.parent.name for path in Path(registry.__file__).parent.glob("*/definition.py")}
every_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=lambda stack: stack.name)


def test_every_folder_with_a_definition_is_registered() -> None:
    assert list(STACKS.values()) == [EMBEDDED, KAMAILIO, ASTERISK]
    assert set(STACKS) == FOLDERS
    assert len({stack.label for stack in STACKS.values()}) == len(STACKS)


@every_stack
def test_a_stack_has_a_calibration_and_plays_the_documented_trunk(stack: StackDefinition) -> None:
    assert load_calibration(stack.name).stack == stack.name
    question = study(stack.name, trunk={"throttle": {"policy": "fixed_window", "retry_after_s": None}})
    assert check_playable(question) is stack
    assert label_of(stack.name) == stack.label


@every_stack
def test_a_foreign_stack_names_its_edge_and_what_relays_audio(stack: StackDefinition) -> None:
    assert is_ours(stack.name) == (stack.foreign is None)
    assert edge_of(stack.name) == (None if stack.foreign is None else stack.foreign.edge)
    if stack.foreign is not None:
        assert stack.foreign.edge
        assert stack.foreign.media


def test_a_stack_that_is_not_there_is_told_with_those_that_are() -> None:
    for asked in (lambda: definition_of("freeswitch"), lambda: check_playable(study("freeswitch"))):
        with pytest.raises(InputError, match="no stack `freeswitch`; choose one of embedded, kamailio, asterisk"):
            asked()
    assert label_of("freeswitch") == "freeswitch"
    assert not is_ours("freeswitch")


def test_what_a_stack_cannot_play_is_told_with_its_name() -> None:
    question = study("asterisk", pop={"inner_address": IPv4Address("127.0.60.1"), "ports": {"quarantine_s": 1}})
    with pytest.raises(InputError, match=r"on asterisk"):
        check_playable(question)


def test_the_list_is_light() -> None:
    """Options and labels are asked for by every command: they must not load what renders, starts or compiles."""
    heavy = ("jinja2", "numba", "psutil", "cryptography", "trunkproof.loadgen.stacks.foreign")
    code = f"import sys, trunkproof.loadgen.stacks.registry; print([name for name in {heavy!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_each_stack_plays_of_several_edges_is_told() -> None:
    down = {"kind": "edge_down", "at_s": 1, "lasts_s": 2}
    pop = {
        "edges": [{"host": "a.example", "address": "127.0.60.1"}, {"host": "b.example", "address": "127.0.60.5"}],
        "failover": {"record_route": "name"},
        "incidents": [down],
    }
    trunk: dict[str, Any] = {"customer_edges": [{"host": "127.0.60.6"}]}
    check_playable(study("embedded", pop=pop, trunk=trunk))

    def problems(stack: str, **changes: Any) -> set[str]:
        with pytest.raises(InputError) as told:
            check_playable(study(stack, pop=pop | changes, trunk=trunk, inbound_share=0.5))
        return {problem.where for problem in told.value.problems}

    common = {"pop.failover.record_route", "trunks[0].customer_edges"}
    assert common | {"pop.edges", "pop.incidents[0]"} <= problems("asterisk")
    assert problems("kamailio") == common | {"pop.incidents[0].edge"}
    silent = {"incidents": [down | {"edge": 1, "connects": "time_out"}]}
    trunk |= {"throttle": {"policy": "fixed_window", "limit": 3}}
    assert problems("kamailio", **silent) == common | {"pop.incidents[0].connects", "trunks[0].throttle"}
