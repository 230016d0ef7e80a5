"""Answer a challenge with digest credentials (RFC 7616, RFC 8760; in SIP: RFC 3261 section 22).

It computes headers and sends nothing. `qop=auth` and challenges without a qop are answered, with MD5 and SHA-256. A
challenge that asks for anything else is not, and the response that brought it is the result of the call.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from trunkproof.loadgen.sip.fields import quote
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.message import Response

_ALGORITHMS = {"md5": hashlib.md5, "sha-256": hashlib.sha256}
_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
"""Status -> the header with the challenge, and the one with its answer (RFC 3261 sections 22.2 and 22.3)."""
CREDENTIALS = tuple(answer for _, answer in _HEADERS.values())
"""Headers that hold credentials."""
_PARAMETER = re.compile(r'([A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)')
_FIRST_USE = "00000001"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password. The password is shown nowhere."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a peer asks for."""

    realm: str
    nonce: str
    algorithm: str
    """As it was written: it is repeated in the answer."""
    with_qop: bool
    opaque: str | None
    stale: bool

    @classmethod
    def parse(cls, text: str) -> Challenge | None:
        """Read the value of a header with a challenge. Return None for one that cannot be answered."""
        scheme, _, rest = text.strip().partition(" ")
        # The first of two equal parameters counts, as a peer that sends two cannot be told from an attacker.
        found: dict[str, str] = {}
        for name, value in _PARAMETER.findall(rest):
            found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value)
        qops = {option.strip().lower() for option in found.get("qop", "").split(",")} - {""}
        algorithm = found.get("algorithm", "MD5")
        known = scheme.lower() == "digest" and algorithm.lower() in _ALGORITHMS
        if not known or (qops and "auth" not in qops) or not {"realm", "nonce"} <= found.keys():
            return None
        printable = all(value.isprintable() for value in found.values())
        stale = found.get("stale", "").lower() == "true"
        challenge = cls(found["realm"], found["nonce"], algorithm, bool(qops), found.get("opaque"), stale)
        return challenge if printable else None

    def answer(self, credentials: Credentials, method: str, uri: str, cnonce: str) -> str:
        """Return the value of the header that answers it (RFC 7616 section 3.4)."""
        digest = _ALGORITHMS[self.algorithm.lower()]

        def hashed(*parts: str) -> str:
            return digest(":".join(parts).encode()).hexdigest()

        secret = hashed(credentials.username, self.realm, credentials.password)
        asked = hashed(method, uri)
        values = [
            ("username", quote(credentials.username)),
            ("realm", quote(self.realm)),
            ("nonce", quote(self.nonce)),
            ("uri", quote(uri)),
        ]
        if self.with_qop:
            response = hashed(secret, self.nonce, _FIRST_USE, cnonce, "auth", asked)
            values += [("qop", "auth"), ("nc", _FIRST_USE), ("cnonce", quote(cnonce))]
        else:
            # As RFC 2069 had it, which RFC 3261 section 22.4 still asks for.
            response = hashed(secret, self.nonce, asked)
        values += [("response", quote(response)), ("algorithm", self.algorithm)]
        values += [] if self.opaque is None else [("opaque", quote(self.opaque))]
        return "Digest " + ", ".join(f"{name}={value}" for name, value in values)


class Authenticator:
    """Answers the challenges of one call: each of a request once, and once more where only its nonce was stale."""

    def __init__(self, credentials: Credentials, cnonce: Callable[[], str]) -> None:
        """Make one for a call. `cnonce` returns a new random word."""
        self._credentials, self._cnonce = credentials, cnonce
        self._answered: set[tuple[str, str]] = set()
        self._renewed: set[tuple[str, str]] = set()

    def answer(self, response: Response, method: str, uri: str) -> Header | None:
        """Return the header with which to send a request again, or None where that would be in vain."""
        if response.status not in _HEADERS:
            return None
        asks, answers = _HEADERS[response.status]
        # The topmost that we know is the one that the peer likes best (RFC 8760 section 2.4).
        challenges = (Challenge.parse(row) for row in response.headers.rows(asks))
        challenge = next((one for one in challenges if one is not None), None)
        key = (method, answers)
        if challenge is None or (key in self._answered and (not challenge.stale or key in self._renewed)):
            return None
        if key in self._answered:
            self._renewed.add(key)
        self._answered.add(key)
        return answers, challenge.answer(self._credentials, method, uri, self._cnonce())
