"""Show a run on a terminal: one screen that is drawn anew each second. Elsewhere: a line every ten seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trunkproof.experiments.live.snapshot import RunState, Snapshot

KEYS = "keys: + faster, - slower, p pause, r resume, d drain (no new calls), q stop"
_LINE_EVERY_S = 10.0
_REASONS, _BOUNDS, _BAR = 4, 8, 60
_COLOURS = {"valid": "green", "suspect": "yellow", "void": "bold red"}


class Screen:
    """What the terminal shows. `take` gets each snapshot."""

    def __init__(self, hint: str = "", told: str = "") -> None:
        self._hint, self.told = hint, told
        self._now: Snapshot | None = None

    def take(self, now: Snapshot) -> None:
        """Show this from now on."""
        self._now = now

    def render(self) -> Text:
        """Return the screen."""
        if self._now is None:
            return Text("preparing")
        shown = screen(self._now)
        for words in filter(None, (self.told, self._hint)):
            shown.append(words + "\n", "dim")
        return shown


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


def screen(now: Snapshot) -> Text:
    """Return a snapshot as a screen of some 20 lines.

    One text and no tables: drawn each second beside the calls, a table of Rich takes four times the CPU.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    full = round(_BAR * min(1.0, now.share))
    text.append(f"{now.study}: {now.state.value}, {_time(now.at_s)}{_left(now)}\n", "bold")
    text.append("━" * full, "green").append("━" * (_BAR - full) + "\n", "dim")
    for name, words, style in _figures(now):
        text.append(f"{name:<18}", "dim").append(words + "\n", style)
    if now.bounds:
        text.append(f"{'of its bound':>12}  {'measured':>12}  target or threshold, so far\n", "dim")
    # The nearest to their bound first: the others are no news.
    for bound in sorted(now.bounds, key=lambda each: -(each.used or 0.0))[:_BOUNDS]:
        used = "–" if bound.used is None else f"{bound.used:.0%}"
        text.append(f"{used:>12}  {bound.shown:>12}  ", {True: "green", False: "bold red", None: "dim"}[bound.holds])
        text.append(bound.name + "\n")
    return text


def _figures(now: Snapshot) -> Iterator[tuple[str, str, str]]:
    health, audio = now.health, now.audio
    refused, failed = sum(now.refused.values()), sum(now.failed.values())
    heard = [f"{kind} {audio.get(kind, 0)}" for kind in ("good", "late", "silent", "faulty")]
    rates = f"sent {now.sent_per_minute:.4g} (10 s), {now.sent_per_minute_whole:.4g} (whole)"
    late = f"late p99 {health.lateness_p99_ms:.1f} ms, loop lag p99 {health.loop_lag_p99_ms:.1f} ms"
    health_style = _COLOURS.get(health.verdict, "")
    yield "calls per minute", f"asked {now.asked_per_minute:.4g}, {rates}", ""
    yield "attempts", f"{now.begun} begun, {now.under_way} under way, {now.redials} redials", ""
    yield "answered", f"{now.answered}{_counts(now.unanswered, 'others: ')}", "green"
    yield "refused", f"{refused}{_counts(now.refused)}", "yellow" if refused else ""
    yield "failed", f"{failed}{_counts(now.failed)}", "bold red" if failed else ""
    yield "SRD, 30 s", f"p50 {_ms(now.srd_p50_ms)}, p95 {_ms(now.srd_p95_ms)}", ""
    yield "audio", ", ".join(heard), ""
    yield "generator, 10 s", f"{health.verdict.upper()}: {late}, CPU {health.cpu_share:.0%} of a core", health_style


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
