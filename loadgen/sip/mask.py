"""Hide telephone numbers, SRTP keys and credentials in SIP text, for every log and trace.

The text need not be well formed. In doubt, text is hidden. Records are not anonymised here. Mask whole messages: a key
of which only a half is there may not look like one.

| what | how it is hidden |
|---|---|
| seven digits and more in a row, wherever they stand | stars, but for a leading 91 and the last two |
| a number behind `+`, `tel:`, `sip:` or a quote, or before `<`, also with `-.() ` or a folded line between its digits | the same, from six digits on |
| such digits in a Call-ID or a header that names one | a code of six letters, the same for the same digits in one process, and the last two: messages of a call can still be found |
| SDES keys, `k=`, MIKEY, ICE passwords; passwords in URIs | whole |
| credentials, challenges and the signatures of Identity headers | whole |

What stays, because a trace is useless without it: ports, statuses, CSeq, RAck, RSeq, Content-Length and the headers
that are times or counts, up to ten digits; the numbers of the SDP lines `o=`, `t=` and `a=ssrc`; branches and tags;
UUIDs and long hexadecimal identifiers, such as the trunk's CallSid.
"""  # noqa: E501

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import partial
from hashlib import blake2s

_KEYS = re.compile(
    r"(inline:)\s*[^\s|;,]+"
    # A line may end in CR alone, and begin with spaces: `sdp_reader` takes both.
    r"|(?:^|(?<=\r))([ \t]*(?:k[ \t]*=|a=key-mgmt:|a=ice-pwd:|a=crypto:\d+[ \t]+\S+[ \t]+(?!inline:)))[^\r\n]+"
    # The lengths are bounded, or a text of nothing but `sip:a:` would take time with the square of its length.
    r"|(\bsips?:[^\s:@<>\"]{1,128}:)[^\s@<>\"]{1,128}(?=@)",
    re.IGNORECASE | re.MULTILINE,
)
_CREDENTIALS = re.compile(
    r"^((?:(?:Proxy-)?(?:Authorization|Authenticate|Authentication-Info)|WWW-Authenticate|Identity|y)[ \t]*:)"
    r"[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*",
    re.IGNORECASE | re.MULTILINE,
)
_CALL_ID = re.compile(r"^(?:Call-ID|i|Replaces|Target-Dialog|In-Reply-To)[ \t]*:[^\r\n]*", re.IGNORECASE | re.MULTILINE)
_KEPT = (
    r"^(?:CSeq|RSeq|Content-Length|l|Max-Forwards|(?:Session-)?Expires|x|Min-SE|Retry-After)[ \t]*:\s*\d{1,10}(?!\d)"
    r"|^(?:RAck|Timestamp)[ \t]*:\s*\d{1,10}(?!\d)(?:[ \t.]+\d{1,10}(?!\d))?"
    r"|(?<=\s)\d{1,20} \d{1,20} IN IP[46] |^t=\d+ \d+|^a=ssrc:\d{1,10}(?!\d)"
    r"|;\s*(?:branch|tag|(?:to|from)-tag)\s*=\s*[^\s;,<>\"]+"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b(?=\d{0,15}[a-f])[0-9a-f]{24,}\b"
)
_DIGIT = r"(?:\d|%3\d)"
_FOLD = r"\r?\n[ \t]"
_BETWEEN = rf"(?:[-() ]{{0,2}}|{_FOLD})"
"""What may stand between the digits of a number."""
_NUMBER = re.compile(
    rf"(?P<kept>{_KEPT})"
    rf"|(?P<lead>\+|%2B|\btel:)(?P<number>{_DIGIT}(?:(?:[-.() ]{{0,2}}|{_FOLD}){_DIGIT}){{5,}})"
    # Numeric addresses stand in these places too. They have dots, and no @ behind them.
    rf"|(?P<place>\bsips?:|\")(?P<user>{_DIGIT}(?:\.?{_DIGIT}){{5,}}(?=@)|{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{5,}})"
    # A display name without quotes.
    rf"|(?P<name>{_DIGIT}(?:{_BETWEEN}{_DIGIT}){{5,20}})(?=[ \t]*<)"
    rf"|(?P<digits>{_DIGIT}{{7,}})",
    re.IGNORECASE | re.MULTILINE,
)
_INDIA = "91"
_SALT = secrets.token_bytes(16)


def mask(text: str) -> str:
    """Return the text without secrets. Numbers keep a leading 91 and two last digits. All else is hidden whole."""
    text = _CREDENTIALS.sub(r"\1 ***", text)
    text = _KEYS.sub(lambda match: f"{match[1] or match[2] or match[3]}***", text)
    text = _CALL_ID.sub(lambda match: mask_call_id(match[0]), text)
    return _NUMBER.sub(_mask_number, text)


def mask_call_id(text: str) -> str:
    """Return a Call-ID without telephone numbers. Equal ones stay equal in one process, and others stay different."""
    # What is a UUID or so is kept. What else has digits gets a code of letters in place of them.
    return _NUMBER.sub(partial(_mask_number, code=_code), text)


def _code(digits: str) -> str:
    drawn = int.from_bytes(blake2s(digits.encode(), key=_SALT, digest_size=4).digest())
    # Letters only: the text is masked again with its message.
    return "".join(chr(ord("g") + (drawn // 18**place) % 18) for place in range(6))


def _mask_number(match: re.Match[str], code: Callable[[str], str] | None = None) -> str:
    if match["kept"]:
        return match[0]
    digits = re.sub(r"[-.()\s]|%3(?=\d)", "", match["number"] or match["user"] or match["name"] or match["digits"])
    lead = match["lead"] or match["place"] or ""
    if code is not None:
        return f"{lead}***{code(digits)}{digits[-2:]}"
    country = _INDIA if digits.startswith(_INDIA) else ""
    return f"{lead}{country}{'*' * (len(digits) - len(country) - 2)}{digits[-2:]}"
