"""SIP messages as a bundle shows them: as they were, or masked, or for a packet analyser that gets decrypted audio."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trunkproof.loadgen.capture.capture import Message
from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.sip.sdes import SUITES, Crypto, MalformedCryptoError, read_crypto

_LENGTH = re.compile(rb"^((?:Content-Length|l)[ \t]*:[ \t]*)\d+", re.IGNORECASE | re.MULTILINE)
_CRYPTO = re.compile(rb"^a=crypto:([^\r\n]*)(?:\r?\n)?", re.MULTILINE)
_CALL_SID = re.compile(rb"^X-Exotel-CallSid[ \t]*:[ \t]*([^\r\n]*[^\s])", re.IGNORECASE | re.MULTILINE)
_FIRST_LINE = re.compile(rb"[^\r\n]*")
_STATUS_LINE = re.compile(r"SIP/2\.0 (\d{3})(?: (.*))?")
_METHOD = re.compile(rb"^CSeq[ \t]*:[ \t]*\d+[ \t]+(\w+)", re.IGNORECASE | re.MULTILINE)


def masked_message(data: bytes) -> bytes:
    """Return a message without numbers, keys and credentials. Its Content-Length is that of the masked body."""
    return _measured(mask(data.decode("utf-8", "replace")).encode())


def for_clear_audio(data: bytes) -> bytes:
    """Return a message whose SDP agrees on plain RTP: an analyser then takes decrypted audio for what it is."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if b"RTP/SAVP" not in body:
        return data
    return _measured(head + blank + _CRYPTO.sub(b"", body.replace(b"RTP/SAVP", b"RTP/AVP")))


def _measured(data: bytes) -> bytes:
    head, blank, body = data.partition(b"\r\n\r\n")
    return _LENGTH.sub(lambda match: match[1] + b"%d" % len(body), head) + blank + body


def keys_in(messages: Iterable[Message]) -> list[Crypto]:
    """Return all SDES keys that were offered or answered, each once."""
    found: dict[tuple[bytes, str], Crypto] = {}
    for message in messages:
        for value in _CRYPTO.findall(message.data):
            try:
                crypto = read_crypto(value.decode("utf-8", "replace"))
            except MalformedCryptoError:  # then nothing was encrypted with it
                continue
            if crypto.suite in SUITES:
                found.setdefault((crypto.key, crypto.suite), crypto)
    return list(found.values())


def call_sid(messages: Iterable[Message]) -> str | None:
    """Return the operator's own identifier of a call, `X-Exotel-CallSid`, or None where no message has one."""
    found = (_CALL_SID.search(message.data) for message in messages)
    return next((match[1].decode("utf-8", "replace") for match in found if match), None)


def title_of(data: bytes) -> str:
    """Return a message in a few words: its method, or its status, reason phrase and what it answers; and SDP."""
    first = _FIRST_LINE.match(data)
    line = (first[0] if first else b"").decode("utf-8", "replace")
    if status := _STATUS_LINE.fullmatch(line):
        method = _METHOD.search(data)
        of = f" ({method[1].decode()})" if method and method[1] != b"INVITE" else ""
        title = f"{status[1]} {status[2] or ''}".strip() + of
    else:
        title = line.split(" ", 1)[0]
    return mask(title) + (" with SDP" if b"\r\n\r\nv=0" in data else "")
