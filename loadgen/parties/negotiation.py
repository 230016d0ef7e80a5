"""Offer and answer of one call's audio: the negotiator of a call (`sip.exchange`), over its `Audio`.

It reads what the peer describes, answers or judges it, and lets the audio follow what is agreed: at the start, and
again whenever an offer in mid-call changes it. A peer's description is a result: nothing in it raises an error here.
"""

from __future__ import annotations

import asyncio

from trunkproof.loadgen.parties.audio import Audio, MediaAddressError
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.offer_answer import SdpFault, judge_answer, offer_again
from trunkproof.loadgen.sip.sdp import MalformedSdpError, MediaDirection, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp


class AudioNegotiator:
    """The negotiator of one call. `offered` is the offer of our INVITE, if we call.

    Each dialog of a forked call has its own agreement. The audio follows the one that spoke last, until one is
    confirmed.
    """

    def __init__(self, audio: Audio, offered: SessionDescription | None = None) -> None:
        self.audio = audio
        self.refusal = ""
        """Why the last offer of the peer was refused."""
        # Written once and known by its text, since the SDP of our own INVITE need not be read again.
        self._offered = None if offered is None else (write_sdp(offered), offered)
        self._ours: dict[str, SessionDescription] = {}
        self._agreed: dict[str, MediaAgreement] = {}
        self._followed: MediaAgreement | None = None
        self._answered = False
        self._stopped = False

    @property
    def is_agreed(self) -> bool:
        """Return whether offer and answer have come to an agreement at least once."""
        return bool(self._agreed)

    @property
    def offered(self) -> bytes:
        """Return the offer of our INVITE as it is sent."""
        return b"" if self._offered is None else self._offered[0]

    def answer(self, offer: bytes, dialog: str) -> bytes | None:
        """Return our answer to the peer's offer, or None where there is none. `refusal` says why."""
        try:
            negotiated = self.audio.answer(parse_sdp(offer), self._ours.get(dialog))
            if isinstance(negotiated, SdpFault):
                self.refusal = negotiated.value
                return None
            # Before the 200: a call whose audio may not be sent must not be answered.
            self.audio.check(negotiated.agreement)
        except (MalformedSdpError, MediaAddressError) as error:
            self.refusal = str(error)
            return None
        self._ours[dialog], self._agreed[dialog] = negotiated
        # After the answer has been written: our audio must not reach the peer before it knows our key.
        asyncio.get_running_loop().call_soon(self._follow, dialog)
        return write_sdp(negotiated.answer)

    def offer(self, dialog: str) -> bytes:
        """Return our offer: the first one in this dialog, or what stands, in both directions."""
        return self.reoffer(dialog, MediaDirection.SENDRECV)

    def reoffer(self, dialog: str, direction: MediaDirection) -> bytes:
        """Return an offer that holds or resumes the audio (RFC 3264 section 8.4), for `call.reoffer`."""
        previous = self._ours.get(dialog)
        offered = self.audio.offer() if previous is None else offer_again(previous, direction)
        self._offered = write_sdp(offered), offered
        return self._offered[0]

    def accept(self, offer: bytes, answer: bytes, dialog: str) -> str | None:
        """Follow the peer's answer to our offer. Return what is wrong with it, or None."""
        known = self._offered is not None and self._offered[0] == offer
        ours = self._offered[1] if known and self._offered is not None else parse_sdp(offer)
        judgement = judge_answer(ours, answer)
        if judgement.agreement is None:
            return "; ".join(judgement.faults)
        try:
            self.audio.check(judgement.agreement)
        except MediaAddressError as error:
            return str(error)
        self._ours[dialog], self._agreed[dialog] = ours, judgement.agreement
        self._follow(dialog)
        return None

    def confirm(self, dialog: str) -> None:
        """Take the call as answered in this dialog: what comes from now on is no early media any more."""
        self._answered = True
        # What a fork said last need not be what the one that answered said.
        if self._agreed.get(dialog) != self._followed:
            self._follow(dialog)
        elif self._followed is not None and not self._stopped:
            self.audio.answered()

    def _follow(self, dialog: str) -> None:
        """Let the audio follow what is agreed in this dialog. Do nothing once it is stopped."""
        agreement = self._agreed.get(dialog)
        if agreement is not None and agreement != self._followed and not self._stopped:
            self._followed = agreement
            self.audio.follow(agreement, early=not self._answered)

    def stop(self) -> None:
        """Stop the audio, and set its report."""
        # An offer that comes after this, or a step that waits for its turn, must not start it again.
        self._stopped = True
        self.audio.stop()

    def close(self) -> None:
        """Stop the audio, and release its ports."""
        self._stopped = True
        self.audio.close()
