"""Print a page's first part on one sheet of A4, and take a picture of its first screen, with a headless Chromium."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from trunkproof.experiments.report.chromium import Browser, ChromiumError

SCREEN = (1280, 900)
_SCALES = (1.0, 0.92, 0.85, 0.78, 0.71, 0.65, 0.58, 0.52)
"""Scales of the print, tried one after the other until everything fits on one sheet."""
_REST = "main > section:not(.first), #curve .figures > div:not(.wide)"
"""What is removed before printing: everything but the first part and the first figure of the decision curve."""
_SHEET_PX = 700
"""Width of the printed content at scale 1, in CSS pixels."""


def write_pictures(page: Path, *, pdf: Path | None = None, png: Path | None = None) -> None:
    """Print the page's first part to `pdf`, and save its first screen to `png`.

    Raises:
        ChromiumError: there is no Chromium, or it fails.
        OSError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="trunkproof-") as profile, Browser(Path(profile) / "profile") as browser:
        if png is not None:
            browser.open(page, width=SCREEN[0], height=SCREEN[1])
            png.write_bytes(browser.screen())
        if pdf is not None:
            browser.open(page, width=SCREEN[0], height=SCREEN[1])
            pdf.write_bytes(_one_sheet(browser))


def pages_of(pdf: bytes) -> int:
    """Count the pages of a PDF that Chromium made."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def _one_sheet(browser: Browser) -> bytes:
    # Remove the rest first: otherwise Chromium draws it again for each scale.
    browser.value(f'document.querySelectorAll("{_REST}").forEach((one) => one.remove()); null')
    browser.value('document.documentElement.classList.add("first-page"); null')
    for scale in _SCALES:
        width = f"{_SHEET_PX / scale:.0f}px"
        browser.value(f'document.documentElement.style.setProperty("--sheet", "{width}"); null')
        printed = browser.paper(scale=scale)
        # Only the print itself says how many sheets it takes.
        if pages_of(printed) == 1:
            return printed
    raise ChromiumError("the page's first part does not fit on one sheet")
