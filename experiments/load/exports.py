"""The judged thresholds for other programs: JUnit XML for a CI, and CSV for a spreadsheet.

In the XML each target is a test case: a missed one is a failure, one that was not judged is skipped. A run that says
nothing (VOID, cut short) is an error of a case of its own, so that a CI never shows it green.
"""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree as ET

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.load.judge import JudgedRow, LoadVerdict
from trunkproof.experiments.load.result import LoadResult

_REASONS = 10


def junit(result: LoadResult) -> str:
    """Return the result as JUnit XML, as GitLab and Jenkins read it."""
    suite = ET.Element("testsuite", name=f"trunkproof load: {_clean(result.study.name)}")
    run = ET.SubElement(suite, "testcase", classname="trunkproof.load", name="the run", time=_duration_s(result))
    counts = {"tests": 1, "failures": 0, "errors": 0, "skipped": 0}
    if result.verdict in {LoadVerdict.VOID, LoadVerdict.CUT_SHORT}:
        ET.SubElement(run, "error", message=_clean(result.sentence), type=result.verdict.value)
        counts["errors"] += 1
    # Red too where no target could be judged: nothing was proven then.
    elif result.verdict is not LoadVerdict.KEPT and all(row.holds is not False for row in result.rows):
        ET.SubElement(run, "failure", message=_clean(result.sentence), type=result.verdict.value)
        counts["failures"] += 1
    # What went wrong stands in each failed case: a CI shows nothing else at first sight.
    why = "\n".join(_why(result))
    for row in result.rows:
        counts["tests"] += 1
        case = ET.SubElement(
            suite, "testcase", classname=f"trunkproof.load.{_kind(row)}", name=_clean(row.name), time="0"
        )
        if row.holds is False:
            failure = ET.SubElement(case, "failure", message=_clean(f"{row.name}: {row.shown}"), type="missed")
            failure.text = _clean(why)
            counts["failures"] += 1
        elif row.holds is None:
            ET.SubElement(case, "skipped", message="nothing was measured that it could be judged by")
            counts["skipped"] += 1
    suite.attrib |= {name: str(count) for name, count in counts.items()} | {"time": _duration_s(result)}
    suite.set("timestamp", result.provenance.started.removesuffix("+00:00"))
    suites = ET.Element("testsuites", {name: str(count) for name, count in counts.items()})
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def threshold_csv(result: LoadResult) -> str:
    """Return one line for each target and threshold."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["kind", "kpi", "scope", "operator", "bound", "value", "worst_window_ends_s", "attempts", "result"])
    for row in result.rows:
        bound = (row.target.operator.value, row.target.bound)
        value = "" if row.value is None else row.value
        at_s = "" if row.at_s is None else row.at_s
        writer.writerow([_kind(row), row.target.kpi, row.scope, *bound, value, at_s, row.attempts, row.word.lower()])
    return text.getvalue()


def _why(result: LoadResult) -> list[str]:
    lines = [result.sentence]
    for reason in result.reasons[:_REASONS]:
        lines.append(f"{reason.attempts} attempts ({formatted(reason.share, 'share')}): {reason.what}")
        lines += [f"  {reason.words}"] if reason.words else []
        lines += [f"  first Call-ID {reason.call_id}"] if reason.call_id else []
        lines += [f"  what to do: {reason.remedy.action}"] if reason.remedy else []
    return lines


def _kind(row: JudgedRow) -> str:
    return "threshold" if row.is_threshold else "quality"


def _duration_s(result: LoadResult) -> str:
    ended_s = result.records["ended_s"].drop_nulls()
    return f"{ended_s.to_numpy().max() if ended_s.len() else 0.0:.3f}"


def _clean(text: str) -> str:
    # XML 1.0 has no control characters, and a peer's words may hold some.
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
