"""Find the session description in the body of a SIP message, which may have several parts (RFC 5621, RFC 2046)."""

from __future__ import annotations

import re
from typing import Final

from trunkproof.loadgen.sip.fields import read_params

_SDP: Final = "application/sdp"
_DEEPEST: Final = 3
"""Parts within parts are looked into so deep. A telephone call needs one level."""
_MOST_PARTS: Final = 20
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,100})"|([^\s;"]{1,100}))', re.IGNORECASE)


def disposition(value: str | None) -> tuple[str, str]:
    """Return what a body is for, and whether to refuse its message where we cannot use it (RFC 3261 section 20.11).

    `value` is that of its Content-Disposition. A session description without one is for the session.
    """
    kind, _, params = (value or "session").partition(";")
    return kind.strip().lower(), read_params(params).get("handling", "required").lower()


def sdp_part(content_type: str | None, body: bytes) -> bytes | None:
    """Return the session description of a body, or None where it has none (415, RFC 3261 section 21.4.13).

    A body whose `Content-Type` is missing or empty counts as SDP if it looks like it. Of several descriptions the first
    one is returned.
    """
    if not content_type:
        return body if body.lstrip().startswith(b"v=0") else None
    return _find(content_type, body, _DEEPEST)


def _find(content_type: str, body: bytes, depth: int) -> bytes | None:
    # White space may stand around the slash (RFC 3261 section 25.1).
    kind = "".join(content_type.partition(";")[0].split()).lower()
    if kind == _SDP:
        return body
    boundary = _BOUNDARY.search(content_type)
    if not kind.startswith("multipart/") or boundary is None or not depth:
        return None
    for part in _parts(body, (boundary[1] or boundary[2]).encode(errors="replace")):
        # A part without header fields begins with an empty line.
        head, _, content = part.partition(b"\n\n")
        # A description for early media alone is no answer for the session (RFC 3959 section 3).
        if disposition(_field(head, b"content-disposition"))[0] != "session":
            continue
        # Without a type it is plain text (RFC 2046 section 5.1).
        found = _find(_field(head, b"content-type", b"c") or "text/plain", content, depth - 1)
        if found is not None:
            return found
    return None


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Return the parts between the lines `--boundary`. Each begins with a line end, and line ends are bare."""
    # In SDP a line end is a line end, so those of the parts may be made equal.
    text = b"\n" + body.replace(b"\r\n", b"\n")
    # The line end before a boundary belongs to the boundary, and `--` behind it ends the body (RFC 2046 section 5.1.1).
    line = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\n|\Z)")
    _, *pieces = line.split(text, _MOST_PARTS)
    return [part for last, part in zip(pieces[::2], pieces[1::2], strict=True) if last is None]


def _field(head: bytes, *names: bytes) -> str | None:
    """Return the value of a part's header field, or None."""
    # A header field may be folded over several lines.
    for line in re.sub(rb"\n[ \t]+", b" ", head).split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in names:
            return value.decode(errors="replace").strip()
    return None
