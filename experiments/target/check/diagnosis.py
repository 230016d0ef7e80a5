"""Why a call was refused: further calls that differ in one thing tell apart what one status does not.

A 403 may mean the whitelist, the Exophone or the domain, and a 488 the codec or SRTP. A call with another caller of the
study, or with another offer, tells which. Calls under a wrong identity tell more, and are placed only where asked for:
an operator may take them for an attack.
"""

from __future__ import annotations

import re

from trunkproof.experiments.target.check.calls import CheckCalls, Identity, Offer, PlacedCall
from trunkproof.experiments.target.check.findings import CheckName, Checks
from trunkproof.experiments.target.remedies import PathFault, Status
from trunkproof.loadgen.parties.refusal import told
from trunkproof.loadgen.sip.mask import mask
from trunkproof.models.destinations import masked_number
from trunkproof.models.plan import PlanRow

NOBODYS_NUMBER = "+910000000000"
"""No number of India begins with 0 behind its country code, so it is nobody's."""
NOBODYS_DOMAIN = "nobody.invalid"
"""RFC 2606 keeps this domain free."""
_FORBIDDEN = 403
_NO_CREDENTIALS = frozenset({401, 407})
_NOT_ACCEPTABLE = frozenset({406, 415, 488, 606})
_MOST_CALLERS = 3
_DOMAIN = "{account}.pstn.exotel.com"


class Diagnosis:
    """Tells why calls of one customer are refused, and whether a wrong caller is."""

    def __init__(self, calls: CheckCalls, checks: Checks, *, may_lie: bool, sip_answers: bool) -> None:
        """Make a diagnosis.

        Args:
            calls: places the calls.
            checks: where the findings are added.
            may_lie: whether calls under a wrong identity may be placed.
            sip_answers: whether OPTIONS got an answer that an unknown address would not get.
        """
        self._calls, self._checks = calls, checks
        self._trunk = calls.plan.study.trunks[calls.trunk]
        self._may_lie, self._sip_answers = may_lie, sip_answers

    async def explain(self, call: PlacedCall, row: PlanRow) -> Identity | None:
        """Add why the first call was refused. Return an identity with which calls are admitted, or None."""
        status = call.record.status
        if status == _FORBIDDEN:
            return await self._forbidden(call, row)
        if status in _NO_CREDENTIALS:
            given = "refused the credentials of the study" if self._trunk.credentials else "asks for credentials"
            self._checks.broken(CheckName.WHITELIST, f"the trunk {given}: {_words(call)}", Status(status))
        elif status in _NOT_ACCEPTABLE:
            await self._not_acceptable(call, row)
        return None

    def admitted(self, call: PlacedCall) -> None:
        """Add that a call passed whitelist and caller identity."""
        self._checks.holds(CheckName.WHITELIST, f"the trunk takes calls from {self._trunk.customer_address}")
        self._checks.holds(CheckName.IDENTITY, f"admitted as {_caller(call)}")

    async def stranger(self, row: PlanRow) -> None:
        """Call under a number that is nobody's, which must be refused."""
        if not self._may_lie:
            self._checks.not_tried("not asked for: --wrong-exophone", CheckName.STRANGER)
            return
        call = await self._try(row, Identity(caller=NOBODYS_NUMBER))
        if call is None:
            self._checks.not_tried("the number may not be called so often", CheckName.STRANGER)
        elif call.is_answered or call.record.ringing_s is not None:
            self._checks.broken(
                CheckName.STRANGER, f"{masked_number(NOBODYS_NUMBER)} was admitted", PathFault.STRANGER_ADMITTED
            )
        else:
            self._checks.holds(CheckName.STRANGER, f"refused: {_words(call)}")

    async def _forbidden(self, call: PlacedCall, row: PlanRow) -> Identity | None:
        seen = f"{_words(call)}, called as {_caller(call)}"
        if not self._sip_answers:
            self._checks.broken(
                CheckName.WHITELIST, f"OPTIONS and INVITE are refused: {seen}", PathFault.NOT_WHITELISTED
            )
            self._checks.not_tried("the address is not known", CheckName.IDENTITY)
            return None
        other, admitted = await self._other_identity(row)
        if other is not None and admitted is not None:
            fault = PathFault.WRONG_DOMAIN if other.domain else PathFault.WRONG_EXOPHONE
            self._checks.holds(CheckName.WHITELIST, f"the trunk takes calls from {self._trunk.customer_address}")
            self._checks.broken(CheckName.IDENTITY, f"{seen}; admitted as {_caller(admitted)}", fault)
            return other
        fault = await self._by_lies(call, row) if self._may_lie else PathFault.WRONG_IDENTITY
        if fault is PathFault.WRONG_IDENTITY:
            self._checks.not_tried("a 403 does not tell it from the caller identity", CheckName.WHITELIST)
        else:
            self._checks.holds(CheckName.WHITELIST, "the trunk tells wrong identities apart, so it knows our address")
        hint = "" if self._may_lie else "; --wrong-exophone may tell which of the three it is"
        self._checks.broken(CheckName.IDENTITY, f"{seen}{hint}", fault)
        return None

    async def _other_identity(self, row: PlanRow) -> tuple[Identity | None, PlacedCall | None]:
        """Return another identity of the study with which the trunk admits a call, and that call."""
        usual = _DOMAIN.format(account=self._trunk.account)
        tries = [Identity(caller=number) for number in self._trunk.traffic.callers[:_MOST_CALLERS]]
        tries = tries if len(tries) > 1 else []
        tries += [Identity(domain=usual)] if self._trunk.domain != usual else []
        for identity in tries:
            call = await self._try(row, identity)
            if call is not None and call.record.status != _FORBIDDEN:
                return identity, call
        return None, None

    async def _by_lies(self, call: PlacedCall, row: PlanRow) -> PathFault:
        """Tell Exophone from domain: the trunk answers a known wrong one in the same words as ours."""
        number = await self._try(row, Identity(caller=NOBODYS_NUMBER))
        domain = await self._try(row, Identity(domain=NOBODYS_DOMAIN))
        if number is None or domain is None:
            return PathFault.WRONG_IDENTITY
        ours, by_number, by_domain = map(_told_apart, (call, number, domain))
        if ours == by_number != by_domain:
            return PathFault.WRONG_EXOPHONE
        return PathFault.WRONG_DOMAIN if ours == by_domain != by_number else PathFault.WRONG_IDENTITY

    async def _not_acceptable(self, call: PlacedCall, row: PlanRow) -> None:
        plain = await self._try(row, Identity(), Offer.PLAIN)
        if plain is not None and plain.record.status not in _NOT_ACCEPTABLE:
            seen = f"SRTP: {_words(call)}; plain RTP: {plain.trail.ladder()}"
            self._checks.broken(CheckName.SDP, seen, PathFault.WANTS_PLAIN_RTP)
            return
        more = await self._try(row, Identity(), Offer.ALL_CODECS)
        if more is not None and more.record.status not in _NOT_ACCEPTABLE:
            seen = f"PCMA and PCMU: {_words(call)}; with more codecs the trunk takes {_formats(more)}"
            self._checks.broken(CheckName.SDP, seen, PathFault.NO_G711)
            return
        also = "" if plain is None else ", plain RTP and other codecs too"
        self._checks.broken(
            CheckName.SDP, f"our offer is refused{also}: {_words(call)}", Status(call.record.status or 488)
        )

    async def _try(self, row: PlanRow, identity: Identity, offers: Offer = Offer.USUAL) -> PlacedCall | None:
        # Answered or not: it is over at once.
        return await self._calls.place(row._replace(hold_s=0.0), identity=identity, offers=offers)


def _caller(call: PlacedCall) -> str:
    """Return as whom a call went out, masked."""
    first = call.trail.first
    return "nobody" if first is None else mask(first.from_.uri.removeprefix("sip:"))


def _words(call: PlacedCall) -> str:
    return told(call.final) if call.final is not None else (call.record.reason or call.trail.ladder() or "no answer")


def _told_apart(call: PlacedCall) -> tuple[int | None, int | None, str]:
    """Return status, cause and words of a refusal, without digits: they may hold the number."""
    words = "" if call.final is None else re.sub(r"\d", "", call.final.words)
    return call.record.status, call.record.cause, words


def _formats(call: PlacedCall) -> str:
    """Return the formats that the answer names."""
    for body in reversed(call.trail.bodies(ours=False)):
        names = re.findall(rb"^a=rtpmap:\d+ ([^/\s]+)/", body, re.MULTILINE)
        media = re.search(rb"^m=audio \d+ \S+ ([\d ]+)", body, re.MULTILINE)
        if names or media:
            told_names = [name.decode() for name in names if name != b"telephone-event"]
            return ", ".join(told_names) if told_names else f"payload types {media[1].decode() if media else ''}"
    return "none that it names"
