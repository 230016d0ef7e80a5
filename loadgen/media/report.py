"""The counts of one side of a call's audio, and the quality that follows from them. Both pumps give equal reports."""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor


@dataclass(frozen=True, slots=True)
class MediaReport:
    """The counts of one side of a call's audio."""

    sent: int = 0
    received: int = 0
    """RTP packets that arrived since the answer, authentic or not."""
    authenticated: int = 0
    failed: int = 0
    """Not authentic."""
    plain: int = 0
    """Those of `failed` that were plain RTP although SRTP was agreed."""
    replayed: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    jumped: int = 0
    """Authentic, but their numbers were far off, and no second packet confirmed them (RFC 3550 appendix A.1)."""
    # Packets of a voiceprint of bytes, or 20 ms of one of tones. All were authentic.
    matched: int = 0
    """The other side of this call."""
    foreign: int = 0
    """Another call's audio."""
    echoed: int = 0
    """This side's own audio."""
    unknown: int = 0
    """Audio without a voiceprint."""
    other_types: int = 0
    """Authentic, but of a payload type that was not agreed. Nobody listened to them."""
    early: int = 0
    """RTP packets that arrived before the answer. They count nowhere else."""
    sources: int = 0
    """Sources (SSRC) heard since the answer."""
    collided: int = 0
    """Authentic, but with our own source: a loop, or chance (RFC 3550 section 8.2)."""
    jitter_ms: float = 0.0
    """Of the source that was heard last."""
    round_trip_ms: float | None = None
    """Mean time from the sending of our frames to their return. None where none came back."""
    silence_s: float = 0.0
    """The longest time without a packet, from the start to the end of the call, while the peer could send."""
    paused_s: float = 0.0
    """How long the peer sent nothing because nobody spoke."""
    mos: float = 1.0
    remote_lost: int | None = None
    """How many of our packets the peer has lost, by its last report. None without a report."""
    rtcp_received: int = 0
    rtcp_failed: int = 0
    rtcp_muxed: int = 0
    """RTCP packets that came to the RTP port (RFC 5761). They count as RTCP too."""
    rtp_on_rtcp: int = 0
    """RTP packets that came to the RTCP port. Nobody listened to them."""
    stun: int = 0
    zrtp: int = 0
    dtls: int = 0
    turn: int = 0
    keep_alive: int = 0
    """Datagrams too short for anything else: they keep a NAT open (RFC 6263)."""
    other: int = 0
    """Datagrams of no known kind."""
    digits: str = ""
    """Keys that the peer pressed."""
    keys_sent: int = 0
    """Keys of ours that were sent to their end."""
    stray: int = 0
    """Datagrams to the RTP port from another address than the peer's SDP says, heard or not. Authentic ones are heard,
    and count as all others do too. The rest counts nowhere else: a stranger's packets are no fault of the call."""
    rtcp_stray: int = 0
    """Datagrams to the RTCP port from another address, heard or not."""
    given_up: int = 0
    """Frames never sent, because the process stood still for too long."""
    unsent: int = 0
    """Frames that the system refused to send, for example because no route leads to the peer. The pump counts them."""
    fault: str | None = None
    """Why the pump stopped serving the stream, or None."""

    @property
    def judged(self) -> int:
        """Return how many packets, or times of 20 ms, were asked for a voiceprint."""
        return self.matched + self.foreign + self.echoed + self.unknown

    @property
    def not_rtp(self) -> int:
        """Return how many datagrams were neither RTP nor RTCP."""
        return self.stun + self.zrtp + self.dtls + self.turn + self.keep_alive + self.other


def score(missing: int, expected: int) -> float:
    """Return the MOS by ITU-T G.107. `missing` packets were lost or late, which sounds the same.

    The delay is that of packet and buffer. The network's own delay cannot be seen at one end.
    """
    if not expected:
        return 1.0
    return float(mos(r_factor(MOUTH_TO_EAR_MS, min(1.0, missing / expected))))
