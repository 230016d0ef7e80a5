"""Damaged files: whatever stands in a study, request, card, table, decision or history, only our errors come out.

A failure names its seed, and leaves the file beside it in pytest's folder.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.fuzz.amount import SEED, amount

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.histories.truth import Truth, read_truth
from trunkproof.experiments.review.decision_json import read_decision
from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.request_file import read_request
from trunkproof.experiments.review.score.score import score
from trunkproof.experiments.validation.compare import compare_records
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.experiments.validation.suite.cells import Suite, played_cell, read_suite, write_suite
from trunkproof.experiments.validation.validate import read_evidence, write_evidence
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import read_records, write_records
from trunkproof.models.study_file import parse_study, read_study
from trunkproof.simulator.run import simulate

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments" / "studies").rglob("*.yaml"))
REQUESTS = sorted((ROOT / "experiments" / "requests").glob("*.yaml"))
TRUTHS = sorted((ROOT / "experiments" / "requests" / "histories").glob("*.yaml"))
HISTORIES = sorted((ROOT / "tests" / "cases" / "histories").glob("*.csv"))

ODD_TEXTS = (
    "", "~", "null", "0", "-1", "1e999", "1e308", ".nan", ".inf", "-.inf", "true", "x", "'", '"', "[", "{", "[]", "{}",
    "- a", "[1, x]", "{a: 1}", "&a [*a]", "*b", "!!python/object:os.system x", "0x7fffffffffffffff",
    "9" * 400,
    "12:30:45", "2026-02-30", "2026-12-01", "\t", "é\u2028", "\x00", "fixed_window", "poisson",
    "kamailio", "+919812345678", "%s", "{0}",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, -0.5, "", "x", "2026-02-30", "2026-03-02T10:00", [], [[]], [None], {},
    {"a": 1},
)  # fmt: skip


def damaged_bytes(data: bytes, source: random.Random) -> bytes:
    """Return bytes with some of them changed, cut out, doubled or put in."""
    for _ in range(source.choice((1, 1, 2, 8))):
        at, length = source.randrange(len(data) + 1), source.choice((0, 1, 1, 7, 100))
        put = source.choice(
            (b"", bytes([source.randrange(256)]), data[at : at + length] * 2, b"\xff\xfe", b"\n", b'"', b",")
        )
        data = data[:at] + put + data[at + length :]
    return data


def damaged_text(data: bytes, source: random.Random) -> bytes:
    """Return text with values, lines or bytes changed."""
    if source.random() < 0.2:
        return damaged_bytes(data, source)
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        at = source.randrange(len(lines))
        line = lines[at]
        words = re.split(r"([\s,;:{}\[\]]+)", line)
        words[source.randrange(len(words))] = source.choice(ODD_TEXTS)
        key, colon, _ = line.partition(":")
        lines[at : at + 1] = source.choice(
            (
                [],
                [line, line],
                ["".join(words)],
                ["".join(words)],
                [f"{key}{colon} {source.choice(ODD_TEXTS)}"],
                [f"  {line}"],
            )
        )
    return "\n".join(lines).encode("utf-8", "replace")


def damaged_json(data: bytes, source: random.Random) -> bytes:
    """Return JSON with some values changed or left out, or bytes changed."""
    if source.random() < 0.15:
        return damaged_bytes(data, source)
    content = json.loads(data)
    for _ in range(source.choice((1, 1, 1, 3))):
        holder, key = source.choice(list(places(content)))
        if source.random() < 0.25:
            del holder[key]
        else:
            holder[key] = source.choice(ODD_VALUES)
    return json.dumps(content).encode()


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a value: its container, and its key or index there. Of long lists only the first few."""
    keys = (
        list(content)
        if isinstance(content, dict)
        else list(range(min(3, len(content))))
        if isinstance(content, list)
        else []
    )
    for key in keys:
        yield content, key
        yield from places(content[key])
    if not keys:
        yield {"": content}, ""


Damage = Callable[[bytes, random.Random], bytes]


def attack(whole: list[bytes], path: Path, damage: Damage, read: Callable[[Path], object], times: int) -> None:
    """Read so many damaged copies of these files at `path`. Errors on purpose may come out, and nothing else.

    Raises:
        AssertionError: something else came out.
    """
    read_well = 0
    for number in range(times):
        seed = SEED * 1_000_003 + number
        source = random.Random(seed)
        path.write_bytes(damage(source.choice(whole), source))
        try:
            read(path)
            read_well += 1
        except TrunkproofError:
            continue
        # Not only Exception: a library may panic with less.
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__} from {path}") from error
    # The damage is such that many files are refused, and some can still be read.
    assert times < 50 or 0 < read_well < times


READERS: dict[str, tuple[list[Path], Callable[[Path], object]]] = {
    "study": (STUDIES, read_study),
    "request": (REQUESTS, read_request),
    "truth": (TRUTHS, read_truth),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_yaml_file_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    files, read = READERS[kind]
    attack([file.read_bytes() for file in files], tmp_path / "file.yaml", damaged_text, read, amount(60))


def test_a_damaged_card_is_read_or_refused(tmp_path: Path) -> None:
    card = TrunkCard(stack="embedded", server_name="trunk.test", host="127.0.0.1", port=5061, ca_file="ca.pem", pid=1)
    card.write(tmp_path / "card.json")
    whole = [(tmp_path / "card.json").read_bytes()]
    attack(whole, tmp_path / "card.json", damaged_json, read_card, amount(30))


STUDY = """\
name: made up
duration_s: 10
trunk:
  throttle: {policy: fixed_window, limit: 40, window_s: 12}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 240}
  holding: {kind: exponential, mean_s: 3}
"""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study, records, comparison.json and suite.json of a run that was never made."""
    folder = tmp_path_factory.mktemp("evidence")
    study = parse_study(STUDY).on("kamailio")
    plan = draw_plan(study)
    records = simulate(study, plan)
    comparison = compare_records(
        plan,
        records,
        records,
        generator=judge(Measurements()),
        provenance=Provenance.collect(study, "a test"),
        srtp=Heard(received=5000, authenticated=5000),
        cpu=CpuComparison(30.0, 2.0, 2.0, {"packet_s": 1.5, "invite_s": 0.5}, {"kamailio": 0.4, "rtpengine": 1.6}),
    )
    write_evidence(comparison, folder)
    saved = json.loads(json.dumps(comparison.to_json()))
    write_suite(Suite({"date": "2026-03-02", "command": "a test"}, (played_cell("below", saved),)), folder)
    write_records(records, folder / "table.parquet")
    return folder


def damaged_table(data: bytes, source: random.Random) -> bytes:
    """Return a Parquet file with a column left out, renamed or of another type, or with bytes changed."""
    if source.random() < 0.5:
        return damaged_bytes(data, source)
    frame = pl.read_parquet(data)
    name = source.choice(frame.columns)
    other = source.choice((pl.lit("x"), pl.lit(None), pl.lit(-1), pl.lit(1e300), pl.lit([1]), pl.lit(date(2026, 1, 1))))
    frame = source.choice((frame.drop(name), frame.rename({name: "other"}), frame.with_columns(other.alias(name))))
    file = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"trunkproof-fuzz-{source.random()}.parquet"
    try:
        frame.write_parquet(file)
        return file.read_bytes()
    finally:
        file.unlink(missing_ok=True)


def test_a_damaged_record_table_is_read_or_refused(evidence: Path, tmp_path: Path) -> None:
    whole = [(evidence / "table.parquet").read_bytes()]
    attack(whole, tmp_path / "table.parquet", damaged_table, read_records, amount(100))


def test_a_damaged_comparison_is_read_or_refused(evidence: Path) -> None:
    whole = [(evidence / "comparison.json").read_bytes()]
    attack(whole, evidence / "comparison.json", damaged_json, lambda path: read_evidence(path.parent), amount(200))


def test_a_damaged_suite_is_read_or_refused(evidence: Path) -> None:
    whole = [(evidence / "suite.json").read_bytes()]
    attack(whole, evidence / "suite.json", damaged_json, lambda path: read_suite(path.parent), amount(60))


def small_history(folder: Path) -> Path:
    """Return a history of a few days, as the shipped truths make it."""
    truth: Truth = read_truth(ROOT / "experiments" / "requests" / "histories" / "three_days.yaml")
    quiet = tuple(tuple(0.05 * rate for rate in day) for day in truth.hourly_per_minute)
    return generate(truth.model_copy(update={"hourly_per_minute": quiet}), folder / "small.csv")


def test_a_damaged_history_is_read_or_refused(tmp_path: Path) -> None:
    small_history(tmp_path)
    head = b"\n".join((tmp_path / "small.csv").read_bytes().split(b"\n")[:60])
    whole = [head, *(file.read_bytes() for file in HISTORIES)]

    def read(path: Path) -> History:
        return read_history(HistorySettings(path=path))

    attack(whole, tmp_path / "history.csv", damaged_text, read, amount(1000))


def test_a_damaged_decision_is_scored_or_refused(tmp_path: Path) -> None:
    small_history(tmp_path)
    seen = read_history(HistorySettings(path=tmp_path / "small.csv"))
    request = Request(name="a", history=HistorySettings(path=Path("x")), now_per_minute=10, requested_per_minute=30)
    first = date(2026, 3, 2)
    hours = [f"{first + timedelta(days=day)}T{hour:02}:00" for day in range(7) for hour in range(24)]
    rows = {"start_local": hours, "expected": [10.0] * 168, "low": [1.0] * 168, "high": [20.0] * 168}
    band = {"value": 0.1, "low": 0.0, "high": 0.5}
    step = {"per_minute": 20, "days": 7, "bands": {"refused_share": band, "attempts": band}, "halt": "when it is worse"}
    decision = {
        "decision": "approve",
        "now_per_minute": 10,
        "busy_hour": {
            "periods": [asdict(BusyPeriod((0, 1, 2, 3, 4), 36_000, 3600, 20.0))],
            "fresh_per_minute": {"value": 20.0, "low": 19.0, "high": 21.0},
        },
        "rollout": [step, step | {"per_minute": 30}],
        "fit": {"mean_hold_s": {"value": 60.0, "low": 59.5, "high": 60.5}},
        "history": {"days": 70},
        "forecast": {
            "asked": 0.9,
            "counted": "fresh calls",
            "hours": rows,
            "days": {n: v[:7] for n, v in rows.items()},
        },
    }
    whole = [json.dumps(decision).encode()]

    def read(path: Path) -> object:
        return score(read_decision(path), seen, request)

    attack(whole, tmp_path / "decision.json", damaged_json, read, amount(200))
