"""Translate words, hangup causes and SIP statuses to `CallStatus`.

The hangup causes are those of FreeSWITCH, and its mod_sofia says which SIP status gives which cause.
"""

from __future__ import annotations

import re

import polars as pl

from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import CallStatus

UNPLACED = "unplaced"
"""Status of calls that have not come to the trunk yet, or that were only challenged for a password."""
STATUS = pl.Enum([*(member.value for member in CallStatus), UNPLACED])
CHALLENGES = (401, 407)
_CONGESTED = "normal_temporary_failure"
"""The cause that FreeSWITCH writes for a 503."""

_WORDS: dict[str, str] = {
    CallStatus.ANSWERED: """answered answer completed complete connected success successful in_progress normal_clearing
        attended_transfer blind_transfer media_timeout manager_request allotted_timeout""",
    CallStatus.BUSY: "busy user_busy busy_here engaged",
    CallStatus.NO_ANSWER: """no_answer noanswer not_answered unanswered no_user_response missed timeout ringing
        progress_timeout recovery_on_timer_expire subscriber_absent user_not_registered""",
    CallStatus.ABANDONED: """canceled cancelled cancel abandoned originator_cancel lose_race caller_hangup
        picked_off request_terminated""",
    CallStatus.REFUSED: "refused throttled",
    CallStatus.REJECTED: f"""rejected failed failure error congestion declined unknown chanunavail dontcall torture
        invalidargs call_rejected unallocated_number no_route_destination no_route_transit_net number_changed
        destination_out_of_order invalid_number_format facility_rejected normal_unspecified
        normal_circuit_congestion switch_congestion network_out_of_order {_CONGESTED}
        requested_chan_unavail incompatible_destination service_unavailable service_not_implemented
        bearercapability_notauth bearercapability_notavail bearercapability_notimpl exchange_routing_error interworking
        invalid_gateway gateway_down outgoing_call_barred incoming_call_barred mandatory_ie_missing protocol_error
        swap_congestion invalid_call_reference facility_not_subscribed user_challenge crash system_shutdown none
        unspecified access_info_discarded invalid_msg_unspecified wrong_message channel_unacceptable
        pre_emption facility_not_implemented chan_not_implemented response_to_status_enquiry""",
    UNPLACED: "queued initiated scheduled pending",
}
KNOWN = {word: status for status, words in _WORDS.items() for word in words.split()}

DISPOSITIONS = frozenset({"answered", "no_answer", "busy", "failed", "congestion"})
CAUSES = frozenset(
    f"""{_WORDS[CallStatus.REJECTED]} normal_clearing user_busy no_answer no_user_response originator_cancel lose_race
    allotted_timeout attended_transfer blind_transfer media_timeout manager_request picked_off progress_timeout
    recovery_on_timer_expire subscriber_absent user_not_registered""".split()
)


def plain(word: str) -> str:
    """Return a word as it is written in the lists: lower case, with underscores."""
    return re.sub(r"[\s_-]+", "_", word.strip().lower())


def vocabulary(settings: HistorySettings, seen: pl.Series) -> dict[str, str]:
    """Return word in lower case -> status, for all known words, the words of the request, and those in the first rows.

    A word means a refusal if it is one of `refusal_words` or contains one as a whole part, as in `SWITCH_CONGESTION`.
    """
    refusals = [plain(word) for word in settings.refusal_words]
    wanted = {**KNOWN, **dict.fromkeys(refusals, str(CallStatus.REFUSED))}
    for word in map(plain, seen.drop_nulls().cast(pl.String).unique().to_list()):
        if _is_refusal(word, refusals):
            wanted[word] = CallStatus.REFUSED
    for word in KNOWN:
        if _is_refusal(word, refusals) or (word == _CONGESTED and 503 in settings.refusal_codes):
            wanted[word] = CallStatus.REFUSED
    return {spelt: str(status) for word, status in wanted.items() for spelt in _spellings(word)}


def _is_refusal(word: str, refusals: list[str]) -> bool:
    return any(f"_{refusal}_" in f"_{word}_" for refusal in refusals if refusal)


def _spellings(word: str) -> set[str]:
    return {word.replace("_", between) for between in ("_", " ", "-", "")} - {""}


def by_word(column: str, words: dict[str, str]) -> pl.Expr:
    """Return the expression that gives the status of a word. It gives null if the word is in no list."""
    text = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
    return text.replace_strict(list(words), list(words.values()), default=None, return_dtype=STATUS)


def by_code(code: pl.Expr, refusal_codes: tuple[int, ...]) -> pl.Expr:
    """Return the expression that gives the status of a SIP status code (RFC 3261, section 21); null without a code."""
    busy, nobody = (486, 600), (408, 480)
    return (
        pl.when(code.is_in(list(refusal_codes)))
        .then(_status(CallStatus.REFUSED))
        .when(code.is_between(200, 299))
        .then(_status(CallStatus.ANSWERED))
        .when(code.is_in(busy))
        .then(_status(CallStatus.BUSY))
        .when(code.is_in(nobody))
        .then(_status(CallStatus.NO_ANSWER))
        .when(code == 487)
        .then(_status(CallStatus.ABANDONED))
        .when(code.is_in(CHALLENGES))
        .then(_status(UNPLACED))
        .when(code.is_between(100, 699))
        .then(_status(CallStatus.REJECTED))
    )


def _status(value: str) -> pl.Expr:
    return pl.lit(str(value), dtype=STATUS)
