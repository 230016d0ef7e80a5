"""What went over the wire: each SIP message with its time, and what a check-up reads from those of one call.

It listens through the trace of a run, so it changes nothing about the calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from trunkproof.loadgen.sip.call import description_in
from trunkproof.loadgen.sip.fields import MalformedFieldError, NameAddr, Via
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, Response
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.sdp import MalformedSdpError, SessionDescription
from trunkproof.loadgen.sip.sdp_reader import parse_sdp

_SENT = "sent"


@dataclass(frozen=True, slots=True)
class Seen:
    """One message."""

    at_s: float
    """On the clock of the wiretap."""
    is_ours: bool
    message: Request | Response


@dataclass
class Wiretap:
    """A `Trace` that keeps all messages. `clock` is the event loop's."""

    clock: Callable[[], float]
    seen: list[Seen] = field(default_factory=list)

    def __call__(self, direction: str, data: bytes) -> None:
        """Note one message."""
        parser = StreamParser()
        parser.receive_data(data)
        # What is no SIP changes nothing, and the agent logs it.
        with contextlib.suppress(MalformedMessageError):
            message = parser.next_message()
            if message is not None:
                self.seen.append(Seen(self.clock(), direction == _SENT, message))

    def trail(self, call_id: str) -> Trail:
        """Return the messages of one call, or of one request outside any."""
        return Trail([one for one in self.seen if one.message.headers.get("Call-ID") == call_id])

    def newest(self, method: str) -> Trail:
        """Return the messages of the call or request that we began last with that method."""
        begun = [one.message for one in self.seen if one.is_ours and _is_request(one.message, method)]
        return self.trail(begun[-1].call_id) if begun else Trail([])


def _is_request(message: Request | Response, method: str) -> bool:
    return isinstance(message, Request) and message.method == method


@dataclass
class Trail:
    """The messages of one call, in the order of time."""

    seen: list[Seen]

    @cached_property
    def began_s(self) -> float | None:
        """Return when its first request was sent or came."""
        return self.seen[0].at_s if self.seen else None

    @property
    def first(self) -> Request | None:
        """Return the request that began it."""
        message = self.seen[0].message if self.seen else None
        return message if isinstance(message, Request) else None

    def responses(self, method: str = "INVITE") -> Iterator[tuple[float, Response]]:
        """Yield the peer's responses to our requests of that method, with the seconds since the first request."""
        for one in self.seen:
            message = one.message
            if not one.is_ours and isinstance(message, Response) and _method_of(message) == method:
                yield one.at_s - (self.began_s or 0.0), message

    def final(self, method: str = "INVITE") -> Response | None:
        """Return the last final response that is no challenge, or the last one at all."""
        finals = [response for _, response in self.responses(method) if response.status >= 200]
        told = [response for response in finals if response.status not in {401, 407}]
        return told[-1] if told else (finals[-1] if finals else None)

    def answer(self) -> Response | None:
        """Return the 2xx to the first INVITE."""
        return next((response for _, response in self.responses() if 200 <= response.status < 300), None)

    def requests(self) -> list[Request]:
        """Return the peer's requests."""
        messages = (one.message for one in self.seen if not one.is_ours)
        return [message for message in messages if isinstance(message, Request)]

    def ladder(self) -> str:
        """Return when which response to the first INVITE came, such as `100 after 2 ms, 200 after 31 ms`."""
        first: dict[int, float] = {}
        number = None
        for after_s, response in self.responses():
            number = response.cseq.number if number is None else number
            # After a challenge the INVITE goes out again with the next number; later ones are re-INVITEs.
            if response.cseq.number <= number + 1 and not (first.keys() & set(range(200, 300))):
                first.setdefault(response.status, after_s)
        return ", ".join(f"{status} after {1000 * after_s:.0f} ms" for status, after_s in first.items())

    def repeated_answers(self) -> int:
        """Return how often the 2xx to one INVITE came again although we had acknowledged it."""
        answers = [
            (response.cseq.number, response.to.tag) for _, response in self.responses() if 200 <= response.status < 300
        ]
        return len(answers) - len(set(answers))

    def vias(self) -> Iterator[tuple[Via, Via]]:
        """Yield each Via that we sent, and what came back of it in a response."""
        ours = {
            one.message.via.branch: one.message.via
            for one in self.seen
            if one.is_ours and isinstance(one.message, Request)
        }
        for one in self.seen:
            if one.is_ours or not isinstance(one.message, Response):
                continue
            try:
                back = one.message.via
            except MalformedFieldError:
                continue
            # A response to another branch finds no transaction, and is nobody's.
            if back.branch in ours:
                yield ours[back.branch], back

    def contact(self) -> str | None:
        """Return the URI of the Contact that we sent."""
        first = self.first
        value = None if first is None else first.headers.get("Contact")
        return None if value is None else NameAddr.parse(value).uri

    def bodies(self, *, ours: bool) -> list[bytes]:
        """Return the session descriptions of one side, in the order of time."""
        found = (description_in(one.message) for one in self.seen if one.is_ours is ours)
        return [body for body in found if body]

    def descriptions(self) -> list[SessionDescription]:
        """Return the peer's session descriptions that can be read."""
        found = []
        for body in self.bodies(ours=False):
            try:
                found.append(parse_sdp(body))
            except MalformedSdpError:
                continue
        return found


def _method_of(response: Response) -> str:
    try:
        return response.cseq.method
    except MalformedFieldError:
        return ""
