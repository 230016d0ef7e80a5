"""What one call says: its outcome, identifiers, SDP, keys, session timer, audio each way, and how it ended."""

from __future__ import annotations

from collections.abc import Callable

from trunkproof.experiments.target.check.calls import MidCall, PlacedCall
from trunkproof.experiments.target.check.findings import CheckName, Checks
from trunkproof.experiments.target.check.wiretap import Trail
from trunkproof.experiments.target.remedies import Q850, PathFault, Status, Trouble
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.audio import find_audio_fault
from trunkproof.loadgen.parties.outgoing import EARLY_HANG_UP_S
from trunkproof.loadgen.parties.refusal import told
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.fields import MalformedFieldError
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.loadgen.sip.offer_answer import Judgement, judge_answer
from trunkproof.loadgen.sip.sdp import MalformedSdpError, SessionDescription
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.loadgen.sip.session_timer import read_session_timer
from trunkproof.models.errors import GuardError
from trunkproof.models.faults import AudioFault
from trunkproof.models.records import Disposition, EndedBy, FarEnd

MOST_DELAY_MS, MOST_JITTER_MS, MOST_LOST = 300.0, 30.0, 0.01
"""What the operator asks of the network: one-way delay below 150 ms, so twice that for both ways; jitter; loss."""
MAY_SEND_NOTHING = frozenset({FarEnd.ANSWERS, FarEnd.REJECTS, FarEnd.RINGS})
AUDIO = (CheckName.AUDIO_IN, CheckName.AUDIO_OUT, CheckName.NETWORK)
_AFTER_ANSWER = (CheckName.SDP, CheckName.KEYS, CheckName.TIMER, *AUDIO, CheckName.ACK)
_OUTWARD = frozenset({AudioFault.NO_ECHO, AudioFault.UNSENT})
"""Faults of the audio that we send."""


def judge_call(call: PlacedCall, checks: Checks, check_media: Callable[[str], str], *, udp_refused: bool) -> None:
    """Add the checks of one call to a far end of any kind.

    Args:
        call: the call, when it is over.
        checks: where they are added.
        check_media: the guard's, which raises GuardError for an address where no audio may go.
        udp_refused: whether the peer's host answered our packet with "port unreachable".
    """
    _outcome(call, checks)
    _identifiers(call.trail, checks)
    if not call.is_answered:
        if call.far_end not in {FarEnd.REJECTS, FarEnd.RINGS}:
            checks.not_tried("the call was not answered", *_AFTER_ANSWER)
        return
    judgement = description_of(call.trail)
    _description(judgement, call.trail, checks)
    _session_timer(call.trail, checks)
    _audio(call, judgement, checks, check_media, udp_refused=udp_refused)
    repeated = call.trail.repeated_answers()
    if repeated:
        checks.broken(CheckName.ACK, f"the 200 came {repeated} times more after our ACK", PathFault.ACK_LOST)
    else:
        checks.holds(CheckName.ACK, "the 200 was not repeated, so our ACK arrived")


def troubles_of(call: PlacedCall) -> tuple[Trouble | None, ...]:
    """Return what a call that failed says of its reason, the most telling first."""
    record = call.record
    cause = None if record.cause is None else Q850(record.cause)
    status = None if record.status is None or record.status < 300 else Status(record.status)
    return record.audio_fault, record.certificate_fault, cause, status, record.disposition


def _outcome(call: PlacedCall, checks: Checks) -> None:
    record, ladder = call.record, call.trail.ladder() or "no response"
    if call.is_silent:
        checks.broken(CheckName.CALL, "nothing came to our INVITE, not even a 100", Disposition.TIMED_OUT)
    elif call.is_answered:
        if call.far_end in {FarEnd.REJECTS, FarEnd.RINGS}:
            checks.remark(CheckName.CALL, f"{ladder}; it was not expected to answer")
        else:
            checks.holds(CheckName.CALL, ladder)
    elif call.far_end is FarEnd.REJECTS and record.status == call.row.status:
        checks.holds(CheckName.CALL, f"{ladder}, as expected")
    elif call.far_end is FarEnd.RINGS and record.disposition is Disposition.ABANDONED:
        checks.holds(CheckName.CALL, f"{ladder}; it rang, and we gave up")
    else:
        words = f"{ladder}: {told(call.final)}" if call.final is not None else f"{ladder}: {record.reason}"
        checks.broken(CheckName.CALL, words, *troubles_of(call))


def _identifiers(trail: Trail, checks: Checks) -> None:
    """Tell the names by which the operator's support finds a call."""
    first, final = trail.first, trail.final()
    if first is None or final is None:
        return
    sids = [f"{name} {value}" for name, value in final.headers if name.lower().startswith("x-exotel")]
    other = [
        name for name, _ in final.headers if name.lower().startswith(("x-", "p-")) and "exotel" not in name.lower()
    ]
    words = [f"Call-ID {mask_call_id(first.call_id)}", *map(mask, sids)]
    words += [f"also {', '.join(dict.fromkeys(other))}"] if other else []
    if any("callsid" in sid.lower() for sid in sids):
        checks.holds(CheckName.IDENTIFIERS, "; ".join(words))
    else:
        checks.remark(CheckName.IDENTIFIERS, f"{'; '.join(words)}; no X-Exotel-CallSid", PathFault.NO_CALL_SID)


def description_of(trail: Trail) -> Judgement | None:
    """Return the judgement on the answer that stands, or None without a call that was answered."""
    answer, offers = trail.answer(), trail.bodies(ours=True)
    if answer is None or not offers:
        return None
    # Without a body the preview of a 1xx holds (RFC 3261 section 13.2.1).
    bodies = trail.bodies(ours=False)
    try:
        return judge_answer(parse_sdp(offers[0]), _body(trail) or (bodies[0] if bodies else b""))
    except MalformedSdpError:
        return None  # our own offer can be read


def _body(trail: Trail) -> bytes:
    answer = trail.answer()
    return b"" if answer is None else answer.body


def _description(judgement: Judgement | None, trail: Trail, checks: Checks) -> None:
    if judgement is None:
        return
    answer = judgement.answer
    if judgement.faults:
        seen = "; ".join(judgement.faults)
        checks.broken(CheckName.SDP, f"{seen}{'' if answer is None else f' ({_summary(answer)})'}", *judgement.faults)
        checks.not_tried("nothing was agreed", CheckName.KEYS)
        return
    assert answer is not None
    checks.holds(CheckName.SDP, _summary(answer))
    if answer.telephone_event is None:
        checks.remark(CheckName.KEYS, "the answer has no telephone-event", PathFault.NO_DIGITS)
    else:
        kind, which = answer.telephone_event
        checks.holds(CheckName.KEYS, f"telephone-event as payload type {kind}, events {which}")


def _summary(answer: SessionDescription) -> str:
    codecs = ", ".join(codec.name for codec in answer.codecs) or "no G.711"
    keys = ", ".join(f"tag {crypto.tag} {crypto.suite}" for crypto in answer.crypto) or "no crypto"
    ptime = "no ptime" if answer.ptime_ms is None else f"ptime {answer.ptime_ms} ms"
    return f"{codecs} on {answer.profile}, {keys}, {ptime}, audio at {answer.address}:{answer.port}"


def _session_timer(trail: Trail, checks: Checks) -> None:
    answer = trail.answer()
    try:
        timer = None if answer is None else read_session_timer(answer)
    except MalformedFieldError as error:
        checks.remark(CheckName.TIMER, f"Session-Expires cannot be read: {error}")
        return
    if timer is None:
        checks.holds(CheckName.TIMER, "none: the trunk asks for no refreshes")
    else:
        who = {None: "nobody is named", "uac": "we refresh"}.get(timer.refresher, "the trunk refreshes")
        checks.holds(CheckName.TIMER, f"{timer.interval_s} s, {who}")


def _audio(
    call: PlacedCall,
    judgement: Judgement | None,
    checks: Checks,
    check_media: Callable[[str], str],
    *,
    udp_refused: bool,
) -> None:
    if judgement is None or judgement.faults or judgement.answer is None:
        checks.not_tried("no audio was agreed", *AUDIO)
        return
    try:
        check_media(judgement.answer.address)
    except GuardError as error:
        checks.not_tried(str(error), *AUDIO)
        return
    judge_heard(call.report, call.far_end, checks, udp_refused=udp_refused)


def judge_heard(report: MediaReport, far_end: FarEnd, checks: Checks, *, udp_refused: bool = False) -> None:
    """Add what one side of a call heard, and what it knows of what the other side hears."""
    fault, words = find_audio_fault(report, far_end) or (None, "")
    heard = f"{report.received} packets, {report.authenticated} authentic"
    nothing = not (report.received or report.rtcp_received or report.stray or report.not_rtp)
    if fault in _OUTWARD or (fault is None and (report.received or far_end not in MAY_SEND_NOTHING)):
        checks.holds(CheckName.AUDIO_IN, f"{heard}, longest silence {report.silence_s:.2f} s")
    elif fault is None:
        checks.not_tried("nothing came, and this far end need not send", CheckName.AUDIO_IN)
    elif fault is AudioFault.ONE_WAY and nothing:
        refused = "; its host says that the port is closed" if udp_refused else ""
        seen = f"not one packet came, neither audio nor RTCP{refused}"
        checks.broken(CheckName.AUDIO_IN, seen, PathFault.MEDIA_CLOSED)
    else:
        rtcp = f"; {report.rtcp_received} RTCP packets came" if report.rtcp_received else ""
        checks.broken(CheckName.AUDIO_IN, f"{words}{rtcp}", fault)
    _sent(report, checks, fault=fault, words=words)
    _network(report, checks)


def _sent(report: MediaReport, checks: Checks, *, fault: AudioFault | None, words: str) -> None:
    if fault in _OUTWARD:
        checks.broken(CheckName.AUDIO_OUT, words, fault)
    elif report.echoed:
        # Whatever the far end is expected to do: the voiceprint says that it is ours.
        trip = "" if report.round_trip_ms is None else f", {report.round_trip_ms:.0f} ms from mouth to ear and back"
        checks.holds(CheckName.AUDIO_OUT, f"our own voice came back in {report.echoed} of {report.judged} frames{trip}")
    elif report.remote_lost is not None:
        lost = max(0, report.remote_lost)
        if report.sent and lost > report.sent / 2:
            seen = f"the trunk's RTCP says that {lost} of our {report.sent} packets are lost"
            checks.broken(CheckName.AUDIO_OUT, seen, PathFault.MEDIA_CLOSED)
        else:
            checks.holds(CheckName.AUDIO_OUT, f"the trunk's RTCP reports our audio, {lost} packets lost")
    else:
        why = "cannot be told from here: no echo, and no RTCP report came; an echo or --long tells it"
        checks.not_tried(why, CheckName.AUDIO_OUT)


def _network(report: MediaReport, checks: Checks) -> None:
    if not report.authenticated:
        checks.not_tried("no audio to measure", CheckName.NETWORK)
        return
    lost = report.lost / (report.lost + report.received)
    trip = "" if report.round_trip_ms is None else f"round trip {report.round_trip_ms:.0f} ms, "
    seen = f"{trip}jitter {report.jitter_ms:.1f} ms, loss {100 * lost:.1f} %, {report.late} late, MOS {report.mos:.1f}"
    poor = lost >= MOST_LOST or report.jitter_ms >= MOST_JITTER_MS or (report.round_trip_ms or 0.0) >= MOST_DELAY_MS
    if poor:
        checks.broken(CheckName.NETWORK, seen, PathFault.POOR_NETWORK)
    else:
        checks.holds(CheckName.NETWORK, seen)


def judge_mid_call(call: PlacedCall, checks: Checks) -> None:
    """Add hold and resume, and the refresh, of a call in which they were tried."""
    tried = call.mid_call or MidCall()
    if not call.is_answered:
        checks.not_tried("the call was not answered", CheckName.HOLD, CheckName.REFRESH)
        return
    cut_off = call.record.ended_by is EndedBy.PEER or _up_s(call) < call.row.hold_s - EARLY_HANG_UP_S / 2
    if tried.refresh is None and cut_off:
        checks.not_tried("the call was over before they could be tried", CheckName.HOLD, CheckName.REFRESH)
        return
    fault = f"; {tried.fault}" if tried.fault else ""
    held = f"hold {_status(tried.hold)}, resume {_status(tried.resume)}{fault}"
    if tried.hold == tried.resume == 200 and not fault:
        checks.holds(CheckName.HOLD, held)
    else:
        wrong = [Status(status) for status in (tried.hold, tried.resume) if status not in {200, None}]
        checks.broken(CheckName.HOLD, held, PathFault.MID_CALL_REFUSED, *wrong)
    if tried.refresh == 200:
        checks.holds(CheckName.REFRESH, "a re-INVITE with the same SDP was answered with 200")
    else:
        checks.broken(CheckName.REFRESH, f"the re-INVITE: {_status(tried.refresh)}", PathFault.MID_CALL_REFUSED)


def _status(status: int | None) -> str:
    return "no answer" if status is None else str(status)


def _up_s(call: PlacedCall) -> float:
    return (call.record.bye_s or 0.0) - (call.record.answered_s or 0.0)


def judge_cancel(call: PlacedCall, checks: Checks) -> None:
    """Add what became of a call that we gave up."""
    record = call.record
    if record.disposition is Disposition.ABANDONED and call.trail.final() is not None:
        checks.holds(CheckName.CANCEL, f"{call.trail.ladder()}, after our CANCEL")
    elif call.is_answered or record.disposition is Disposition.COMPLETED:
        checks.not_tried("it was answered before our CANCEL", CheckName.CANCEL)
    elif record.disposition in {Disposition.ABANDONED, Disposition.STILL_UP, Disposition.TIMED_OUT}:
        checks.broken(CheckName.CANCEL, f"{call.trail.ladder()}: no 487 came", PathFault.CANCEL_IGNORED)
    else:
        checks.not_tried(f"the call ended otherwise: {record.reason or record.disposition}", CheckName.CANCEL)


def judge_length(call: PlacedCall, checks: Checks) -> None:
    """Add whether a call stayed up for as long as we held it."""
    record, up_s = call.record, _up_s(call)
    if not call.is_answered:
        checks.not_tried("the call was not answered", CheckName.STAYS_UP)
    elif record.disposition is Disposition.DROPPED or (
        record.ended_by is EndedBy.PEER and call.far_end is not FarEnd.PLAYS
    ):
        why = f": {record.bye_reason}" if record.bye_reason else ""
        cause = None if record.bye_cause is None or record.bye_cause == _NORMAL else Q850(record.bye_cause)
        seen = f"the trunk hung up after {up_s:.1f} of {call.row.hold_s:g} s{why}"
        checks.broken(CheckName.STAYS_UP, seen, PathFault.DROPPED_EARLY, cause)
    elif call.far_end is FarEnd.PLAYS and record.ended_by is EndedBy.PEER:
        checks.holds(CheckName.STAYS_UP, f"up for {up_s:.1f} s, until the announcement was over")
    elif record.disposition is Disposition.CONNECTION_FAILED:
        checks.broken(CheckName.STAYS_UP, record.reason or EndCause.BYE_CONNECTION_LOST.name, record.disposition)
    else:
        checks.holds(CheckName.STAYS_UP, f"up for {up_s:.1f} s, and ended by our BYE")


_NORMAL = 16
