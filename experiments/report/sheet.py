"""What all pages share: one style, and figures drawn by the page's script from JSON beside them.

A page fetches nothing from anywhere: style, scripts and data are all in its one file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined

PLOTLY = "plotly-cartesian.min.js"
"""Plotly's own bundle of the charts with x and y axes: `plotly.js-cartesian-dist-min` on npm (MIT, as its text says).

Its version is that of the Plotly package (a test compares them). To renew it: `npm pack` the package of that version,
and take this one file out of it.
"""


@dataclass(frozen=True)
class Panel:
    """A figure with its title and a caption that says what to look for."""

    name: str
    title: str
    caption: str
    figure: go.Figure


def fill(template: str, *, panels: Sequence[Panel] = (), **values: Any) -> str:
    """Return a page as HTML text. A page without figures carries no code to draw them."""
    environment = Environment(
        loader=PackageLoader("trunkproof.experiments.report"),
        # Names and reasons on a page come from files and peers.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(
        css=_plain(environment, "page.css"),
        js=_plain(environment, "page.js") if panels else "",
        # The part of Plotly with our kinds of figures, 1.5 MB instead of 4.8. A page without figures has none of it.
        plotly=_plain(environment, PLOTLY) if panels else "",
        panels=[_drawn(panel) for panel in panels],
        **values,
    )


def _plain(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    # As it is, without rendering: braces of CSS and scripts would be taken for those of a template.
    return environment.loader.get_source(environment, name)[0]


def _drawn(panel: Panel) -> dict[str, str]:
    # "</" would end the script element that carries the figure.
    figure = json.dumps(json.loads(panel.figure.to_json())).replace("</", "<\\/")
    return {"name": panel.name, "title": panel.title, "caption": panel.caption, "json": figure}
