"""Show a run on a terminal: one screen that is drawn anew each second. Elsewhere: a line every ten seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trunkproof.experiments.live.snapshot import Bound, RunState, Snapshot

KEYS = "keys: + faster, - slower, p pause, r resume, d drain (no new calls), q stop"
_LINE_EVERY_S = 10.0
_REASONS, _BOUNDS = 4, 8
_COLOURS = {"valid": "green", "suspect": "yellow", "void": "bold red"}


class Screen:
    """What the terminal shows. `take` gets each snapshot."""

    def __init__(self, hint: str = "", told: str = "") -> None:
        self._hint, self.told = hint, told
        self._now: Snapshot | None = None

    def take(self, now: Snapshot) -> None:
        """Show this from now on."""
        self._now = now

    def render(self) -> RenderableType:
        """Return the screen."""
        if self._now is None:
            return Text("preparing")
        lines = [screen(self._now)]
        lines += [Text(line, style="dim") for line in (self.told, self._hint) if line]
        return Group(*lines)


@contextlib.contextmanager
def shown_on(console: Console, view: Screen) -> Iterator[None]:
    """Draw the screen once a second while the block runs. It is gone afterwards."""
    # Drawn in Rich's own thread: the event loop of the calls does not wait for a terminal.
    with Live(console=console, get_renderable=view.render, refresh_per_second=1, transient=True):
        yield


class Lines:
    """Writes a line every ten seconds, for a log. `write` prints one."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._next_s = write, _LINE_EVERY_S

    def take(self, now: Snapshot) -> None:
        """Write a line where it is time."""
        if now.at_s >= self._next_s:
            self._next_s = now.at_s + _LINE_EVERY_S
            self._write(line(now))


def line(now: Snapshot) -> str:
    """Return a snapshot as one line."""
    parts = [
        f"{now.at_s:.0f} s",
        *([] if now.state is RunState.RUNNING else [now.state.value]),
        f"asked {now.asked_per_minute:.4g} CPM, sent {now.sent_per_minute:.4g}",
        f"{now.under_way} under way",
        f"{now.answered} answered",
        f"{sum(now.refused.values())} refused{_counts(now.refused)}",
        f"{sum(now.failed.values())} failed{_counts(now.failed)}",
        f"SRD p95 {_ms(now.srd_p95_ms)}",
        f"generator {now.health.verdict.upper()}",
    ]
    missed = [bound.name for bound in now.bounds if bound.holds is False]
    return "; ".join(parts + [f"missed so far: {name}" for name in missed])


def screen(now: Snapshot) -> RenderableType:
    """Return a snapshot as a screen of at most some 25 lines."""
    # In a grid: a bar alone ends without a line break, and would swallow the line after it.
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=1.0, completed=now.share))
    figures = Table.grid(padding=(0, 2))
    for row in _figures(now):
        figures.add_row(*row)
    parts: list[RenderableType] = [bar, figures]
    if now.bounds:
        parts.append(_bounds(now.bounds))
    title = f"{now.study}: {now.state.value}, {_time(now.at_s)}{_left(now)}"
    return Panel(Group(*parts), title=Text(title), title_align="left")


def _figures(now: Snapshot) -> Iterator[tuple[Text, Text]]:
    health, audio = now.health, now.audio
    yield (
        _name("calls per minute"),
        Text(
            f"asked {now.asked_per_minute:.4g}, sent {now.sent_per_minute:.4g} (10 s), "
            f"{now.sent_per_minute_whole:.4g} (whole)"
        ),
    )
    yield _name("attempts"), Text(f"{now.begun} begun, {now.under_way} under way, {now.redials} redials")
    yield _name("answered"), Text(f"{now.answered}{_counts(now.unanswered, 'others: ')}", style="green")
    refused, failed = sum(now.refused.values()), sum(now.failed.values())
    yield _name("refused"), Text(f"{refused}{_counts(now.refused)}", style="yellow" if refused else "")
    yield _name("failed"), Text(f"{failed}{_counts(now.failed)}", style="bold red" if failed else "")
    yield _name("SRD, 30 s"), Text(f"p50 {_ms(now.srd_p50_ms)}, p95 {_ms(now.srd_p95_ms)}")
    heard = [f"{kind} {audio.get(kind, 0)}" for kind in ("good", "late", "silent", "faulty")]
    yield _name("audio"), Text(", ".join(heard))
    yield (
        _name("generator, 10 s"),
        Text(
            f"{health.verdict.upper()}: late p99 {health.lateness_p99_ms:.1f} ms, loop lag p99 "
            f"{health.loop_lag_p99_ms:.1f} ms, CPU {health.cpu_share:.0%} of a core",
            style=_COLOURS.get(health.verdict, ""),
        ),
    )


def _bounds(bounds: tuple[Bound, ...]) -> Table:
    table = Table("target or threshold, so far", "measured", "of the bound", box=None, header_style="dim")
    # The nearest to their bound first: the others are no news.
    for bound in sorted(bounds, key=lambda each: -(each.used or 0.0))[:_BOUNDS]:
        style = {True: "green", False: "bold red", None: "dim"}[bound.holds]
        used = "" if bound.used is None else f"{bound.used:.0%}"
        table.add_row(Text(bound.name), Text(bound.shown, style=style), Text(used, style=style))
    return table


def _name(text: str) -> Text:
    return Text(text, style="dim")


def _counts(values: Mapping[str, int], before: str = "") -> str:
    if not values:
        return ""
    largest = sorted(values.items(), key=lambda each: -each[1])
    words = [f"{name.replace('_', ' ')} {count}" for name, count in largest[:_REASONS]]
    more = ["…"] if len(largest) > _REASONS else []
    return f" ({before}{', '.join(words + more)})"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(abs(seconds)), 60)
    return f"{'-' if seconds < 0 else ''}{minutes}:{rest:02d}"


def _left(now: Snapshot) -> str:
    return "" if now.left_s is None or now.state is not RunState.RUNNING else f", {_time(now.left_s)} left"
