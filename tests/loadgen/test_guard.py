from collections.abc import Sequence

import pytest

from trunkproof.loadgen.guard import Guard, Target, resolve
from trunkproof.models.errors import GuardError, StackError

REMOTE = "203.0.113.7"  # RFC 5737: never anyone's address


def _resolver(**names: str) -> dict[str, str]:
    return {name.replace("_", "."): address for name, address in names.items()}


def _guard(names: dict[str, str], *allowed: str, ceiling: float | None = None, production: bool = False) -> Guard:
    def look_up(host: str, _port: int) -> Sequence[str]:
        return [names[host]] if host in names else []

    return Guard(frozenset(allowed), ceiling, production, resolve=look_up)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert Guard().check(host, 5061, 1e6).port == 5061


def test_localhost_is_resolved_and_needs_no_leave() -> None:
    assert Guard().check("localhost", 5061, 1e6).address in {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", [REMOTE, "10.0.0.1", "192.168.1.1", "0.0.0.0", "2001:db8::1", "127.0.0.1.example"])
def test_anything_else_is_refused(host: str) -> None:
    with pytest.raises(GuardError, match=r"allow list.*ceiling of at least 200"):
        _guard({"127.0.0.1.example": REMOTE}).check(host, 443, 200)


@pytest.mark.parametrize(
    ("allowed", "ceiling", "missing"),
    [((), 200.0, "allow list"), ((REMOTE,), None, "ceiling"), ((REMOTE,), 199.0, "at least 200"), ((), None, "and")],
)
def test_both_the_name_and_the_ceiling_are_needed(
    allowed: tuple[str, ...], ceiling: float | None, missing: str
) -> None:
    with pytest.raises(GuardError, match=missing):
        _guard({}, *allowed, ceiling=ceiling).check(REMOTE, 443, 200)


def test_allowed_and_confirmed_may_be_called() -> None:
    assert _guard({}, REMOTE, ceiling=200).check(REMOTE, 443, 200) == Target(REMOTE, REMOTE, 443)


@pytest.mark.parametrize("ceiling", [float("nan"), -1.0])
def test_a_ceiling_that_is_no_rate_confirms_nothing(ceiling: float) -> None:
    with pytest.raises(GuardError, match="ceiling"):
        _guard({}, REMOTE, ceiling=ceiling).check(REMOTE, 443, 200)


def test_a_name_is_judged_by_its_address_and_the_address_is_returned() -> None:
    names = _resolver(lab_example=REMOTE, here_example="127.0.0.5")
    assert _guard(names).check("here.example", 443, 200) == Target("here.example", "127.0.0.5", 443)
    allowed = _guard(names, "Lab.Example.", ceiling=200)
    assert allowed.check("LAB.example", 443, 200) == Target("lab.example", REMOTE, 443)
    with pytest.raises(GuardError):
        _guard(names).check("lab.example", 443, 200)


def test_an_address_on_the_list_allows_the_name_that_resolves_to_it() -> None:
    names = _resolver(lab_example=REMOTE)
    assert _guard(names, REMOTE, ceiling=200).check("lab.example", 443, 1).address == REMOTE


@pytest.mark.parametrize("host", ["pstn.in2.exotel.com", "PSTN.IN2.EXOTEL.COM.", "exotel.in", "a.b.exotel.in"])
def test_production_is_refused_even_when_allowed_and_confirmed(host: str) -> None:
    def never(_host: str, _port: int) -> Sequence[str]:
        pytest.fail("production was looked up")

    guard = Guard(frozenset({host}), 1e6, resolve=never)
    with pytest.raises(GuardError, match="production"):
        guard.check(host, 443, 1)


def test_a_name_that_only_looks_like_production_is_an_ordinary_one() -> None:
    names = _resolver(notexotel_com="127.0.0.1")
    assert _guard(names).check("notexotel.com", 443, 1).address == "127.0.0.1"


def test_the_word_production_replaces_neither_list_nor_ceiling() -> None:
    names = _resolver(pstn_in2_exotel_com=REMOTE)
    with pytest.raises(GuardError, match="allow list"):
        _guard(names, production=True).check("pstn.in2.exotel.com", 443, 1)
    guard = _guard(names, "pstn.in2.exotel.com", ceiling=1, production=True)
    assert guard.check("pstn.in2.exotel.com", 443, 1).address == REMOTE


def test_an_unknown_name_is_a_missing_trunk() -> None:
    with pytest.raises(StackError, match=r"nowhere\.example"):
        _guard({}).check("nowhere.example", 443, 1)


def test_the_resolver_reports_what_it_cannot_resolve() -> None:
    # A label over 63 characters fails in the resolver itself: no question leaves the machine.
    with pytest.raises(StackError, match="does not resolve"):
        resolve("a" * 64, 443)


def test_audio_follows_the_target_loopback_and_the_allow_list() -> None:
    target = Target("lab.example", REMOTE, 443)
    guard = _guard({}, "203.0.113.8")
    assert guard.check_media(REMOTE, target) == REMOTE
    assert guard.check_media("127.0.0.9", target) == "127.0.0.9"
    assert guard.check_media("203.0.113.8", target) == "203.0.113.8"


@pytest.mark.parametrize("address", ["203.0.113.9", "0.0.0.0", "224.0.0.1", "media.example", "", "localhost"])
def test_an_sdp_cannot_send_our_audio_elsewhere(address: str) -> None:
    with pytest.raises(GuardError, match="SDP"):
        Guard().check_media(address, Target("127.0.0.1", "127.0.0.1", 443))


def test_a_remote_target_is_no_leave_for_other_calls_audio() -> None:
    with pytest.raises(GuardError):
        Guard().check_media(REMOTE)
