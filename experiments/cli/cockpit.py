"""The options `--live` and `--prometheus` of commands that place calls, and the cockpit that they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from trunkproof.experiments.cli.app import err
from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.cockpit import Cockpit, Where
from trunkproof.models.study import Study

_FREE = "127.0.0.1:0"
_ADDRESS = re.compile(r"\d+|.+:\d+")

Live = Annotated[
    str | None,
    typer.Option(
        "--live",
        metavar="[ADDR:PORT]",
        help="Serve a page with charts and controls; without an address on a free port of loopback.",
    ),
]
Prometheus = Annotated[
    str | None,
    typer.Option("--prometheus", metavar="ADDR:PORT", help="Serve metrics there, for Prometheus to scrape."),
]


def with_address(words: Sequence[str]) -> list[str]:
    """Return a command line in which a bare `--live` has the address that it stands for."""
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        found.append(word)
        # A study may follow: `load --live study.yaml`.
        if word == "--live" and not _ADDRESS.fullmatch(following):
            found.append(_FREE)
    return found


class LiveCommand(TyperCommand):
    """A command whose option `--live` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare `--live` the address that it stands for."""
        return super().parse_args(ctx, with_address(args))


def cockpit_of(study: Study, live: str | None, prometheus: str | None, why_not: str = "") -> Cockpit:
    """Return the cockpit that the options ask for. `why_not` says why the run cannot be controlled, if it cannot.

    Raises:
        InputError: an address is none.
    """
    page = None if live is None else Address.read(live, "--live")
    metrics = None if prometheus is None else Address.read(prometheus, "--prometheus")
    # The address is told to whoever is quiet too: without it nobody could open the page.
    where = Where(err.quiet, page, metrics, not why_not, why_not, say=lambda text: typer.echo(text, err=True))
    return Cockpit(study, err, where)
