"""Say in words what the records of a run tell of a throttle. No word hides that something was fitted."""

from __future__ import annotations

from trunkproof.experiments.validation.throttle_fit import Constraint, Phase, ThrottleFit


def percent(share: float | None) -> str:
    """Return a share as a percentage with two decimals, none for whole numbers."""
    if share is None:
        return "n/a"
    return f"{100 * share:.2f}".removesuffix(".00") + " %"


def throttle_lines(fit: ThrottleFit) -> list[str]:
    """Return what the records say of a throttle, a sentence a line."""
    who = ", ".join(fit.trunks)
    lines = [
        f"{who}: as described ({fit.described.describe()}) the throttle decides {percent(fit.share)} of "
        f"{fit.attempts:,} attempts as the trunk did; {fit.refused:,} were refused."
    ]
    if fit.phase is not None:
        lines.append(
            f"{who}: with the phase of its window fitted to these records, {percent(fit.fitted_share)}; a window "
            f"begins {fit.phase.anchor_s:+.3f} s from plan zero, {phase_words(fit.phase)}."
        )
    lines += [f"{who}: {constraint_words(one)}" for one in fit.constraints]
    if fit.alternative is not None:
        lines.append(f"{who}: {alternative_words(fit)}")
        lines += [f"{who}: doubt about that: {doubt}." for doubt in fit.alternative.doubts]
    return lines


def constraint_words(one: Constraint) -> str:
    """Return what the records say of a parameter, as a sentence."""
    same = _values(one.least, one.most)
    if one.most is None:
        return f"{one.parameter} {one.described:g}: the records cannot tell; {same} explains as many attempts."
    if one.least == one.most == one.agrees_least == one.agrees_most:
        return f"{one.parameter} {one.described:g} is exact: no other value would agree."
    known = "is exact" if one.least == one.most else f"may be {same}, which explains as many attempts"
    return f"{one.parameter} {one.described:g} {known}; {_values(one.agrees_least, one.agrees_most)} would still agree."


def _values(least: float, most: float | None) -> str:
    if most is None:
        return f"anything from {least:.6g} on"
    return f"{least:.6g}" if least == most else f"{least:.6g} to {most:.6g}"


def alternative_words(fit: ThrottleFit) -> str:
    """Return how much the throttle explains as described, and as it is told from the records."""
    assert fit.alternative is not None
    described = f"As described, the throttle explains {percent(fit.best_share)} of the attempts"
    described += " with its phase fitted" if fit.fitted_share is not None else ""
    sure = "" if fit.alternative.is_sure else ", which is not sure"
    other = fit.alternative.settings.describe()
    return f"{described}; fitted to the same records, {percent(fit.alternative.share)} as {other}{sure}."


def phase_words(phase: Phase) -> str:
    """Return how well a phase is known."""
    if not phase.is_told:
        return "almost any phase will do"
    return f"known to ± {1000 * phase.within_s:.0f} ms"
