"""The verdict of a comparison in one sentence that a manager reads and an engineer can check."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkproof.experiments.validation.compare import Comparison
    from trunkproof.loadgen.parties.audio import Heard


def verdict_sentence(comparison: Comparison) -> str:
    """What was found, the doubt first where there is any."""
    if not comparison.valid:
        reasons = "; ".join(comparison.generator.reasons)
        return f"VOID: the load generator was out of breath ({reasons}), so this run proves nothing about the trunk."
    if not comparison.attempts:
        return " ".join([*_doubts(comparison), "No call was placed, so there is nothing to compare."])
    return " ".join([*_doubts(comparison), _agreement(comparison), _refusals(comparison), _srtp(comparison.srtp)])


def _doubts(comparison: Comparison) -> list[str]:
    doubts = []
    if comparison.interrupted is not None:
        doubts.append(f"The run was cut short ({comparison.interrupted}).")
    if comparison.troubles:
        doubts.append(f"Trouble in the trunk: {'; '.join(comparison.troubles)}.")
    if comparison.generator.reasons:
        doubts.append(f"SUSPECT ({'; '.join(comparison.generator.reasons)}).")
    return doubts


def _agreement(comparison: Comparison) -> str:
    attempts = comparison.attempts
    agreed = round(comparison.agreement * attempts)
    verb = "agree" if comparison.agrees else "differ: they agree only"
    return (
        f"Prediction and real calls {verb} on {agreed:,} of {attempts:,} attempts ({_percent(comparison.agreement)})."
    )


def _refusals(comparison: Comparison) -> str:
    refused, lost = comparison.kpis["refused_share"], comparison.kpis["customers_lost_share"]
    if refused.measured is None or lost.measured is None:
        return "No call was placed."
    rate = 60 * (comparison.kpis["attempts"].measured or 0) / comparison.study.duration_s
    return (
        f"At {rate:.0f} attempts per minute the trunk refused {_percent(refused.measured)} of attempts "
        f"(predicted {_percent(refused.predicted)}) and lost {_percent(lost.measured)} of callers "
        f"(predicted {_percent(lost.predicted)})."
    )


def _srtp(srtp: Heard) -> str:
    if not srtp.received:
        return "No audio was received."
    if srtp.authenticated == srtp.received:
        return f"All {srtp.received:,} SRTP packets received were authentic."
    return f"Only {srtp.authenticated:,} of {srtp.received:,} SRTP packets received were authentic."


def _percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    return f"{100 * share:.2f}".removesuffix(".00") + " %"
