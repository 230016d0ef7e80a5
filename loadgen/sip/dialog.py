"""Dialogs (RFC 3261 section 12): identity, sequence numbers, route set and remote target of one call, at one side.

A dialog builds the requests inside it and says whether a received one is in order. It sends nothing itself.
`Repeater` says when to repeat a 2xx until its ACK (section 13.3.1.4), or a reliable 1xx until its PRACK (RFC 3262). It
is here because the repetition belongs to the dialog and not to a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from trunkproof.loadgen.sip.exchange import Exchange
from trunkproof.loadgen.sip.fields import CSeq, MalformedFieldError, NameAddr, Uri, check_uri, uri_host
from trunkproof.loadgen.sip.headers import Header, Headers
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.models.timers import T1_S, T2_S, TRANSACTION_TIMEOUT_S

CallKey = tuple[str, str]
"""Call-ID and local tag (section 12). The remote tag tells the dialogs of a forked call apart."""
FIRST_CSEQ = 101
"""Last CSeq number before a callee's first request, which then is 102: the number that the trunk's INVITEs start at."""


@dataclass(slots=True)
class Dialog:
    """One side's view of a dialog. `local` and `remote` are values of From and To, tags included."""

    call_id: str
    local: str
    remote: str
    local_tag: str
    remote_tag: str
    local_cseq: int
    remote_cseq: int | None
    remote_target: str
    route_set: tuple[str, ...] = ()
    invite_cseq: int = field(default=0)
    """CSeq number of the last INVITE sent. Its ACK repeats it."""
    local_party: NameAddr | None = None
    """`local`, parsed, where it has been parsed already."""
    remote_party: NameAddr | None = None
    exchange: Exchange = field(default_factory=Exchange)
    """Offer and answer in this dialog."""
    rseq: int | None = None
    """RSeq of the last reliable provisional response that came (RFC 3262 section 4)."""

    def __post_init__(self) -> None:
        """Raise MalformedFieldError for a broken route or target now, not when the first request needs it."""
        self._route()

    @classmethod
    def as_caller(cls, invite: Request, response: Response, own_host: str, own_port: int) -> Self:
        """Return the dialog that a response to our INVITE makes (RFC 3261 section 12.1.2).

        Leading routes that name ourselves are dropped, as an edge does with its own Record-Route (section 16.4).

        Raises:
            MalformedFieldError: a header of the response cannot be read.
        """
        # A caller reverses the Record-Route of the answer, a callee takes it as it came (sections 12.1.2 and 12.1.1).
        routes = _routes(response)[::-1]
        while routes and _names(routes[0], own_host, own_port):
            routes.pop(0)
        # A 2xx must have a Contact (section 12.1.1). Where it has none that can be read, the INVITE's own address is
        # the best guess: without an ACK the callee would stay in a call that is over for us.
        try:
            target = contact_uri(response) or invite.uri
            check_uri(target)
        except MalformedFieldError:
            target = invite.uri
        return cls(
            call_id=invite.call_id,
            local=invite.headers.get("From") or "",
            remote=response.headers.get("To") or "",
            local_tag=invite.from_.tag,
            remote_tag=response.to.tag,
            local_cseq=invite.cseq.number,
            # Unknown until the callee's first request, whatever number that has (section 12.1.2).
            remote_cseq=None,
            remote_target=target,
            route_set=tuple(routes),
            invite_cseq=invite.cseq.number,
            local_party=invite.from_,
            remote_party=response.to,
        )

    @classmethod
    def as_callee(cls, invite: Request, local_tag: str) -> Self:
        """Return the dialog that our answer to an INVITE makes (RFC 3261 section 12.1.1).

        Raises:
            MalformedFieldError: a header of the INVITE cannot be read.
        """
        return cls(
            call_id=invite.call_id,
            # The local side of a callee is the To of the INVITE, and the tag that our answer adds to it.
            local=f"{invite.headers.get('To')};tag={local_tag}",
            remote=invite.headers.get("From") or "",
            local_tag=local_tag,
            remote_tag=invite.from_.tag,
            local_cseq=FIRST_CSEQ,
            remote_cseq=invite.cseq.number,
            remote_target=contact_uri(invite) or invite.from_.uri,
            route_set=tuple(_routes(invite)),
        )

    @property
    def next_host(self) -> str:
        """Return the host that our requests go to: that of the first route, else of the remote target."""
        uri = NameAddr.parse(self.route_set[0]).uri if self.route_set else self.remote_target
        return Uri.parse(uri).host

    def take_over(self, early: Dialog) -> None:
        """Go on from the early dialog of the same tags: a 2xx renews its route and target only (section 13.2.2.4)."""
        self.local_cseq, self.remote_cseq = early.local_cseq, early.remote_cseq
        self.exchange, self.rseq = early.exchange, early.rseq

    def request(self, method: str, via: str, headers: tuple[Header, ...] = (), body: bytes = b"") -> Request:
        """Return a new request inside the dialog, with the next CSeq number (RFC 3261 section 12.2.1.1)."""
        self.local_cseq += 1
        if method == "INVITE":
            self.invite_cseq = self.local_cseq
        return self._request(method, self.local_cseq, via, headers, body)

    def ack(self, via: str, number: int | None = None, headers: tuple[Header, ...] = ()) -> Request:
        """Return the ACK of a 2xx: a request of its own with the INVITE's CSeq number (RFC 3261 section 13.2.2.4).

        `number` is that of an earlier INVITE, whose 2xx came again. None: the last one.
        """
        return self._request("ACK", self.invite_cseq if number is None else number, via, headers, b"")

    def _request(self, method: str, number: int, via: str, headers: tuple[Header, ...], body: bytes) -> Request:
        # The headers are written as text at once: this runs for every ACK and BYE, and nobody reads the rows again.
        uri, routes = self._route()
        cseq = f"{number} {method}"
        first = {"Via": via, "From": self.local, "To": self.remote, "Call-ID": self.call_id, "CSeq": cseq}
        route_rows = "".join([f"Route: {route}\r\n" for route in routes])
        text = (
            f"Via: {via}\r\n{route_rows}Max-Forwards: 70\r\nFrom: {self.local}\r\nTo: {self.remote}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {cseq}\r\n"
        )
        for name, value in headers:
            text += f"{name}: {value}\r\n"
        request = Request(method, uri, Headers.written(text, 6 + len(routes) + len(headers), first), body)
        request.know(CSeq(number, method), self.local_party, self.remote_party)
        return request

    def _route(self) -> tuple[str, tuple[str, ...]]:
        """Return Request-URI and Route values, by loose routing or RFC 2543's strict routing (section 12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, ()
        first = NameAddr.parse(self.route_set[0]).uri
        # A route without `lr` is a strict router of RFC 2543.
        if "lr" in Uri.parse(first).params:
            return self.remote_target, self.route_set
        # A strict router expects its own URI as the Request-URI, so the remote target travels as the last route.
        return first, (*self.route_set[1:], f"<{self.remote_target}>")

    def accepts(self, request: Request) -> bool:
        """Note a received request's CSeq. Return False where it is out of order: answer 500 then (section 12.2.2)."""
        # Repetitions do not come here, because their transaction absorbs them. So an equal number is a second request
        # and as wrong as a lower one. A gap is allowed: the RFC says that it is no error.
        number = request.cseq.number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True


def contact_uri(message: Request | Response) -> str | None:
    """Return the URI of a Contact, which is the remote target from now on (RFC 3261 section 12.2), or None.

    Raises:
        MalformedFieldError: it cannot be read.
    """
    value = message.headers.get("Contact")
    return _uri_of(value) if value is not None else None


@lru_cache(maxsize=256)
def _uri_of(value: str) -> str:
    """Return the URI of a Contact. Cached: a trunk sends the same Contact in all its answers, or one per gateway."""
    return NameAddr.parse(value).target


def _routes(message: Request | Response) -> list[str]:
    return [_route_of(value) for value in message.headers.elements("Record-Route")]


@lru_cache(maxsize=256)
def _route_of(value: str) -> str:
    """Return a Record-Route as the Route that it becomes: in brackets, and with what was written outside them."""
    return f"<{NameAddr.parse(value).route}>"


def _names(route: str, host: str, port: int) -> bool:
    uri = Uri.parse(NameAddr.parse(route).uri)
    return uri.host == uri_host(host) and uri.port == port


class Repeater:
    """Say when to repeat a response until it is acknowledged: after T1, then twice as long each time, until 64*T1.

    A 2xx waits T2 at most (RFC 3261 section 13.3.1.4), a reliable 1xx has no such bound (RFC 3262 section 3). Both are
    repeated over reliable transports too.
    """

    __slots__ = ("_deadline_s", "_due_s", "_interval_s", "_longest_s", "response")

    def __init__(self, response: Response, now: float, longest_s: float = T2_S) -> None:
        self.response = response
        self._interval_s = T1_S
        self._longest_s = longest_s
        # TLS loses nothing, but a proxy between us and the caller may go on over UDP. Only the two ends repeat these
        # responses and what acknowledges them.
        self._due_s = now + T1_S
        self._deadline_s = now + TRANSACTION_TIMEOUT_S

    def next_timer(self) -> float:
        """Return when to repeat next, or when to give up if that is sooner."""
        return min(self._due_s, self._deadline_s)

    def expired(self, now: float) -> bool:
        """Return whether 64*T1 went by without an acknowledgement."""
        return now >= self._deadline_s

    def repeat(self, now: float) -> Response:
        """Return the response, to be sent once more, and set the time of the next repetition."""
        self._interval_s = min(2 * self._interval_s, self._longest_s)
        self._due_s = now + self._interval_s
        return self.response
