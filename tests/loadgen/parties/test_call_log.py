"""A call's log has its identity, and no secret."""

from __future__ import annotations

import logging

import pytest

from trunkproof.loadgen.parties.call_log import CallLog

logger = logging.getLogger("trunkproof.test")


def test_a_line_has_the_number_and_the_call_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = CallLog(logger, "5e0c@127.0.0.43")
    log.debug("came in")
    log.of(17, 1).info("ringing %s", 180)
    assert caplog.messages == ["5e0c@127.0.0.43: came in", "call 17, attempt 1, 5e0c@127.0.0.43: ringing 180"]


def test_numbers_and_keys_of_the_peers_text_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    CallLog(logger, "9876543210@h").warning("it said %s", "sip:+919876543210@a a=crypto:1 AES inline:c2VjcmV0")
    (line,) = caplog.messages
    assert "9876543210" not in line
    assert "c2VjcmV0" not in line
    assert "inline:***" in line


def test_what_is_not_written_costs_nothing() -> None:
    class Loud:
        def __str__(self) -> str:
            raise AssertionError("written out")

    logger.setLevel(logging.WARNING)
    CallLog(logger, "x").debug("never %s", Loud())
