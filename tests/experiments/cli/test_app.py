"""What the libraries warn of reaches the user, each thing once; nothing below a warning does."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from trunkproof.experiments.cli.app import show_log

LIBRARY = logging.getLogger("trunkproof")


@pytest.fixture
def _shown() -> Iterator[None]:
    before = LIBRARY.handlers[:]
    LIBRARY.handlers[:] = []
    show_log()
    show_log()
    yield
    LIBRARY.handlers[:] = before


@pytest.mark.usefixtures("_shown")
def test_a_warning_is_shown_once_and_an_info_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("trunkproof.loadgen.media.pump")
    for _ in range(2):
        logger.warning("audio is sent by the %s pump [sic]", "plain")
        logger.info("plan zero is %.1f s away", 0.5)
    assert capsys.readouterr().err == "audio is sent by the plain pump [sic]\n"


@pytest.mark.usefixtures("_shown")
def test_a_bug_is_shown_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        (_ for _ in ()).throw(OSError("the disk is full"))
    except OSError:
        logging.getLogger("trunkproof.loadgen.observer").exception("Journal failed")
    shown = capsys.readouterr().err
    assert shown.startswith("Journal failed\nTraceback")
    assert shown.rstrip().endswith("OSError: the disk is full")
