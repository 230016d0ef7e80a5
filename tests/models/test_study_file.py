"""A study is read whole, and a wrong one is answered with all its errors, each at its key and line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.study import PRODUCTION_HOST
from trunkproof.models.study_file import parse_study, read_study

SMALLEST = """\
name: smallest
duration_s: 60
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: 180}
"""
STUDIES = sorted((Path(__file__).parents[2] / "experiments" / "studies").glob("*.yaml"))


def problems_of(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_study(text)
    return [str(problem) for problem in caught.value.problems]


def test_five_lines_are_the_documented_trunk() -> None:
    study = parse_study(SMALLEST)
    (trunk,) = study.trunks
    assert (study.pop.host, study.pop.port) == (PRODUCTION_HOST, 443)
    assert (study.pop.ports.low, study.pop.ports.high) == (10000, 40000)
    assert (trunk.throttle.policy, trunk.throttle.limit, trunk.throttle.window_s) == ("fixed_window", 200, 60)
    assert trunk.codecs == ("PCMA", "PCMU")
    assert trunk.suites == ("AES_CM_128_HMAC_SHA1_80",)
    assert trunk.customer_port == 5061


def test_all_mistakes_are_told_at_once_with_path_line_and_the_nearest_key() -> None:
    text = """\
name: wrong
duration_s: -5
trunk:
  throttle: {policy: fixed_window, limt: 300}
  acount: x
traffic:
  arrivals: {kind: poison, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: many}
"""
    found = problems_of(text)
    assert len(found) == 5
    assert found[0].startswith("line 2: duration_s: must be more than 0, not `-5`")
    assert found[1] == "line 4: trunk.throttle.limt: unknown key; did you mean `limit`?"
    assert found[2] == "line 5: trunk.acount: unknown key; did you mean `account`?"
    assert found[3] == "line 7: traffic.arrivals: unknown kind `poison`; did you mean `poisson`?"
    assert found[4].startswith("line 8: traffic.holding.mean_s: must be a number")


def test_keys_inside_a_list_of_trunks_are_named_by_their_index() -> None:
    text = """\
trunks:
  - name: a
    traffic: {arrivals: {kind: constant, rate_per_minute: 60}, holding: 5}
  - name: b
    customer_address: 127.0.0.3
    whitelst: [10.0.0.0/8]
    traffic: {arrivals: {kind: constant, rate_per_minute: 60}, holding: 5}
"""
    assert problems_of(text) == ["line 6: trunks[1].whitelst: unknown key; did you mean `whitelist`?"]


def test_a_missing_key_is_named_where_it_belongs() -> None:
    assert problems_of("name: x\ntraffic:\n  holding: 5\n") == ["line 2: traffic.arrivals: is missing"]
    assert problems_of("name: x\n") == ["traffic: is missing"]


def test_a_key_that_stands_twice_is_an_error() -> None:
    assert problems_of(SMALLEST + "name: again\n") == ["line 6: name: stands twice; first in line 1"]


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "42"])
def test_what_is_no_mapping_is_no_study(text: str) -> None:
    assert problems_of(text) == [
        f"line 1: study: {'has no keys' if text else 'is empty'}; it needs at least `traffic:`"
    ]


def test_aliases_are_written_out_only_as_far_as_anybody_could_mean() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise("abcdefghi")
    )
    assert problems_of(bomb) == ["YAML: its aliases stand for more than can be read"]
    assert problems_of("name: &a [*a]\n") == ["YAML: its aliases stand for more than can be read"]
    assert "traffic: is missing" in problems_of("name: x\ntrunk: &a {account: &b acc}\npop: {host: *b}\n")


def test_broken_yaml_is_told_with_its_line() -> None:
    assert problems_of("name: x\ntraffic: {arrivals: [\n")[0].startswith("line 3: YAML:")


def test_top_level_traffic_does_not_go_with_a_list_of_trunks() -> None:
    found = problems_of(SMALLEST + "trunks: []\n")
    assert any("traffic: unknown key" in problem for problem in found)


def test_trunks_that_share_an_address_are_refused() -> None:
    trunk = "{name: %s, traffic: {arrivals: {kind: constant, rate_per_minute: 60}, holding: 5}}"
    found = problems_of(f"trunks:\n  - {trunk % 'a'}\n  - {trunk % 'b'}\n")
    assert found == ["study: trunks share the customer_address 127.0.0.2; each needs its own"]


def test_a_missing_file_and_a_binary_file_are_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_study(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_study(binary)


def test_a_machine_may_be_written_with_the_older_name_of_its_slowdown() -> None:
    older, newer = (parse_study(f"{SMALLEST}pop: {{machine: {{{name}: 1.5}}}}\n") for name in ("pace", "slowdown"))
    assert older == newer
    assert newer.pop.machine.slowdown == 1.5
    assert older.digest() == newer.digest()
    (problem,) = problems_of(f"{SMALLEST}pop: {{machine: {{pace: -1}}}}\n")
    assert problem.startswith("line 6: pop.machine.")
    assert "more than 0, not `-1`" in problem


def test_the_digest_is_of_the_values_not_of_the_writing() -> None:
    rewritten = SMALLEST.replace("duration_s: 60", "duration_s: 60.0  # a minute")
    assert parse_study(SMALLEST).digest() == parse_study(rewritten).digest()
    assert parse_study(SMALLEST).digest() != parse_study(SMALLEST.replace("180", "181")).digest()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_reads(path: Path) -> None:
    assert read_study(path).trunks


@pytest.mark.parametrize(
    ("written", "versions"),
    [
        ("{}", ("1.2", "1.3")),
        ("{versions: [1.2, 1.3]}", ("1.2", "1.3")),
        ("{versions: [1.3, 1.2]}", ("1.2", "1.3")),
        ("{versions: [1.2]}", ("1.2",)),
        # A single one needs no list, and the older key `version` names one.
        ("{versions: 1.3}", ("1.3",)),
        ("{version: 1.2}", ("1.2",)),
        ('{version: "1.3"}', ("1.3",)),
    ],
)
def test_tls_versions_are_read_as_numbers_or_text(written: str, versions: tuple[str, ...]) -> None:
    (trunk,) = parse_study(f"{SMALLEST}  tls: {written}\n").trunks
    assert trunk.traffic.tls.versions == versions
    assert trunk.traffic.tls.expected_version == versions[-1]


def test_mistakes_in_addresses_and_connections_are_told_at_once_with_their_lines() -> None:
    text = """\
pop:
  address: "::g"
trunk:
  customer_address: 300.0.0.1
  whitelist: ["2001:db8::/129", 10.0.0.0/8]
  follow_redirects: perhaps
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: 10
  ring_patience_s: 0
  tls:
    versions: [1.1, 1.3]
"""
    found = problems_of(text)
    starts = [
        "line 2: pop.address: must be an IP address, such as 127.0.0.2, not `::g`",
        "line 4: trunk.customer_address: must be an IP address, such as 127.0.0.2, not `300.0.0.1`",
        "line 5: trunk.whitelist[0]: must be an IP address or network, such as 127.0.0.0/30, not `2001:db8::/129`",
        "line 6: trunk.follow_redirects: must be true or false",
        "line 10: traffic.ring_patience_s: must be more than 0, not `0`",
        "line 12: traffic.tls.versions[0]: must be `1.2` or `1.3`",
    ]
    assert len(found) == len(starts)
    assert all(one.startswith(start) for one, start in zip(found, starts, strict=True)), found


def test_a_mistake_under_an_older_key_is_told_at_its_line() -> None:
    (found,) = problems_of(f"{SMALLEST}  tls: {{version: 1.4}}\n")
    assert found.startswith("line 6: traffic.tls.version")


def test_a_wrong_key_in_a_list_that_may_be_left_out_is_answered_with_the_right_one() -> None:
    text = "name: x\ntraffic: {}\ntrunk: {throttle: {policy: fixed_window, refused_as: [{caus: 3}]}}\n"
    with pytest.raises(InputError, match=r"refused_as\[0\]\.caus: unknown key; did you mean `cause`\?"):
        parse_study(text)
