"""The page of a load test: verdict, thresholds, what went wrong and what to do, figures, and what was not measured.

It lays out what `experiments.load` found, as one HTML file without a network. Numbers in it are masked.
"""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import target_words
from trunkproof.experiments.load.judge import LoadVerdict
from trunkproof.experiments.load.result import LoadResult
from trunkproof.experiments.report.load_figures import load_panels
from trunkproof.experiments.report.sheet import fill
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.kpis import DEFINITIONS

_TILES = ("attempts", "asr", "refused_share", "customers_lost_share", "failed_calls_share", "srd_p95_ms", "mos_p5")
_STATES = {
    LoadVerdict.KEPT: "agree",
    LoadVerdict.MISSED: "differ",
    LoadVerdict.ABORTED: "differ",
    LoadVerdict.CUT_SHORT: "void",
    LoadVerdict.VOID: "void",
}


def write_load_page(result: LoadResult, path: Path) -> None:
    """Write the page of a load test."""
    write_text(path, render(result))


def render(result: LoadResult) -> str:
    """Return the page as HTML text."""
    doubtful = result.verdict is LoadVerdict.KEPT and bool(result.generator.reasons)
    word, _, sentence = result.sentence.partition(": ")
    return fill(
        "load.html",
        panels=load_panels(result),
        r=result,
        state="doubt" if doubtful else _STATES[result.verdict],
        badge=f"{word}, SUSPECT" if doubtful else word,
        sentence=sentence[:1].upper() + sentence[1:],
        formatted=formatted,
        marked=_marked,
        target_words=target_words,
        definitions=DEFINITIONS,
        tiles=_TILES if result.valid else (),
        endings=[(kind.value.replace("_", " "), count) for kind, count in result.kpis.dispositions.items() if count],
        limits=[
            f"{trunk.name}: counted as throttled: {trunk.throttle.describe_refusal_rules()}."
            for trunk in result.study.trunks
        ],
    )


def _marked(text: str) -> Markup:
    """Return text of ours with its `code` as HTML. Everything else in it is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
