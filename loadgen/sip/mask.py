"""Hide telephone numbers, SRTP keys and credentials in SIP text, for every log and trace.

The text need not be well formed. In doubt, text is hidden. Records are not anonymised here.
"""

from __future__ import annotations

import re

_KEYS = re.compile(r"(inline:)[^\s|;,]+", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"^((?:Proxy-)?Authorization[ \t]*:)[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*", re.IGNORECASE | re.MULTILINE
)
_NUMBER = re.compile(r"(?P<lead>\+|%2B|\bsips?:|\btel:|\")(?P<plus>\+|%2B)?(?P<digits>\d{6,15})(?!\d)", re.IGNORECASE)
_INDIA = "91"


def mask(text: str) -> str:
    """Return the text without secrets. Numbers keep a leading 91 and two last digits. All else is hidden whole."""
    text = _CREDENTIALS.sub(r"\1 ***", text)
    text = _KEYS.sub(r"\1***", text)
    return _NUMBER.sub(_mask_number, text)


def _mask_number(match: re.Match[str]) -> str:
    digits = match["digits"]
    country = _INDIA if digits.startswith(_INDIA) else ""
    hidden = "*" * (len(digits) - len(country) - 2)
    return f"{match['lead']}{match['plus'] or ''}{country}{hidden}{digits[-2:]}"
