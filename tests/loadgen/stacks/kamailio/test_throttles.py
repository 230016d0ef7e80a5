"""The throttles of a real Kamailio, asked question after question, against the objects that the model asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from trunkproof.loadgen.stacks.kamailio.windows import UNCERTAINTY_S, windows_began
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import Admitted

pytestmark = [
    pytest.mark.requires("kamailio"),
    pytest.mark.requires("rtpengine", package="rtpengine-daemon"),
    # Whether a call falls into one window or the next is a matter of milliseconds here.
    pytest.mark.alone,
]

WINDOWED = [
    {"policy": "fixed_window", "limit": 5, "window_s": 0.8},
    {"policy": "pipelimit", "limit": 5, "window_s": 1},
    {"policy": "pipelimit", "limit": 4, "window_s": 1, "algorithm": "red"},
]


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


@pytest.mark.parametrize("settings", WINDOWED, ids=lambda settings: "-".join(map(str, settings.values())))
def test_windows_are_those_of_the_model(
    settings: dict[str, Any],
    running: Callable[[Study], AbstractContextManager[Any]],
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
) -> None:
    study = study_of(trunk_of(throttle=settings))
    trunk = study.trunks[0]
    with running(study) as kamailio, kamailio.probe(trunk) as probe:
        began = windows_began(study, kamailio.programs.pids)[trunk.name]
        model = trunk.throttle.make_throttle(anchor=began)
        window_s = trunk.throttle.window_s
        first = int((time.monotonic() - began) // window_s) + 1
        for number, offered in enumerate([4, 9, 14, 21, 0, 6], start=first):
            opens, closes = began + number * window_s, began + (number + 1) * window_s
            # As near to the boundary as can be told from outside: what is counted before it would be seen.
            _sleep_until(opens + UNCERTAINTY_S)
            answers = [probe.admitted() for _ in range(offered)]
            assert not answers or answers[-1][2] < closes - UNCERTAINTY_S, "too slow to tell the windows apart"
            expected = [isinstance(model.try_admit(before), Admitted) for before, _, _ in answers]
            assert [admitted for _, admitted, _ in answers] == expected, (number - first, offered)


BUCKETS = [
    {"policy": "token_bucket", "limit": 200, "window_s": 2, "burst": 10},
    # The rate is no whole number of microseconds per token, and so many tokens go out that windows are carried over.
    {"policy": "token_bucket", "limit": 7, "window_s": 0.1, "burst": 3},
]


@pytest.mark.parametrize("settings", BUCKETS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_bucket_admits_exactly_what_its_tokens_allow(
    settings: dict[str, Any],
    running: Callable[[Study], AbstractContextManager[Any]],
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
) -> None:
    """A call may pass if and only if, since every earlier call, no more passed than the burst and what came back.

    That is the definition of the bucket without its state, so each answer is judged on its own; the instants between
    which Kamailio decided are known, and nothing else is allowed for.
    """
    study = study_of(trunk_of(throttle=settings))
    trunk = study.trunks[0]
    rate, burst = settings["limit"] / settings["window_s"], settings["burst"]
    with running(study) as kamailio, kamailio.probe(trunk) as probe:
        answers = []
        for pause_s in (0.0, 0.004, 0.0, 0.02):
            for _ in range(150):
                answers.append(probe.admitted())
                time.sleep(pause_s)
    admitted = [answer for answer in answers if answer[1]]
    assert len(admitted) < len(answers)
    for before, passed, after in answers:
        earlier = [answer for answer in admitted if answer[2] <= before]
        # (calls since, the longest and the shortest time that may have gone by)
        since = [(len(earlier) - i + 1, after - a, before - c) for i, (a, _, c) in enumerate(earlier)]
        if passed:
            assert all(calls <= burst + rate * longest for calls, longest, _ in since)
        else:
            assert any(calls > burst + rate * shortest for calls, _, shortest in since)


def test_an_idle_bucket_is_full_again(
    running: Callable[[Study], AbstractContextManager[Any]],
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
) -> None:
    study = study_of(trunk_of(throttle={"policy": "token_bucket", "limit": 10, "window_s": 2, "burst": 4}))
    with running(study) as kamailio, kamailio.probe(study.trunks[0]) as probe:
        assert [probe.admitted()[1] for _ in range(5)] == [True] * 4 + [False]
        time.sleep(4 * 0.2)
        assert [probe.admitted()[1] for _ in range(5)] == [True] * 4 + [False]


def test_refusals_look_as_the_study_says(
    running: Callable[[Study], AbstractContextManager[Any]],
    study_of: Callable[..., Study],
    trunk_of: Callable[..., dict[str, Any]],
) -> None:
    study = study_of(
        trunk_of(1, throttle={"policy": "fixed_window", "limit": 1, "window_s": 600, "retry_after_s": 17}),
        trunk_of(2, throttle={"policy": "pipelimit", "limit": 1, "refusal_status": 480, "retry_after_s": None}),
        trunk_of(3, throttle={"policy": "none"}, whitelist=["127.0.40.128/25"]),
    )
    with running(study) as kamailio:
        for trunk, status, retry in zip(study.trunks[:2], ("503", "480"), ("\r\nRetry-After: 17\r\n", ""), strict=True):
            with kamailio.probe(trunk) as probe:
                assert probe.ask()[1].startswith("SIP/2.0 488")
                answer = probe.ask()[1]
                assert answer.startswith(f"SIP/2.0 {status} ")
                assert "\r\nReason: Q.850;cause=42\r\n" in answer
                assert retry in answer
                assert ("Retry-After" in answer) == bool(retry)
        stranger, guest = kamailio.probe(study.trunks[2]), kamailio.probe(study.trunks[2], "127.0.40.200")
        with stranger as probe:
            answer = probe.ask()[1]
            assert answer.startswith("SIP/2.0 403 ")
            assert "\r\nReason: Q.850;cause=57\r\n" in answer
        with guest as probe:
            assert probe.ask()[1].startswith("SIP/2.0 488")
        # Who may call on one trunk may not call on another.
        with kamailio.probe(study.trunks[0], "127.0.40.2") as probe:
            assert probe.ask()[1].startswith("SIP/2.0 403 ")
