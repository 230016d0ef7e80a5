"""Put a cockpit together: what watches a run, what shows it, and what controls it.

    cockpit = Cockpit(study, console, where)
    options = replace(options, observers=(cockpit.state,))
    async with cockpit.open():
        ... load_async(..., beside=cockpit.steer)

`steer` passes the controls of the keyboard and of the API on to the run. Without it the cockpit only shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from rich.console import Console

from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.messages import TO_RUN, TO_SERVER, Answer, Asked, FromRun, News, Serving, Setup
from trunkproof.experiments.live.snapshot import Snapshot
from trunkproof.experiments.live.state import LiveState
from trunkproof.experiments.live.terminal import KEYS, Lines, Screen, shown_on
from trunkproof.loadgen.control import Control, ControlError, ControlKind
from trunkproof.loadgen.run import Run
from trunkproof.loadgen.system.programs import gone_within, start_process
from trunkproof.models.errors import GuardError, InputError, Problem
from trunkproof.models.study import Study

logger = logging.getLogger(__name__)

_KEYS = {
    "+": ControlKind.FASTER,
    "=": ControlKind.FASTER,
    "-": ControlKind.SLOWER,
    "p": ControlKind.PAUSE,
    "r": ControlKind.RESUME,
    "d": ControlKind.DRAIN,
    "q": ControlKind.STOP,
}
_SERVING_WITHIN_S = 20.0
_GONE_WITHIN_S = 3.0
_SURE_WITHIN_S = 4.0
_MOST_UNSENT = 1 << 20
"""A server that does not read is told nothing more, so that a stuck one cannot fill our memory."""


@dataclass(frozen=True)
class Where:
    """Where a run is shown."""

    quiet: bool = False
    """Nothing on the terminal."""
    page: Address | None = None
    metrics: Address | None = None
    may_control: bool = True
    why_not: str = ""
    """Why it cannot be controlled, in words."""
    say: Callable[[str], None] = lambda text: None
    """Is told where page and metrics are served."""


def _has_keyboard() -> bool:
    """Tell whether this process may read the terminal. One in the background would be stopped for it."""
    if not sys.stdin.isatty():
        return False
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False


class Cockpit:
    """Shows one run, and controls it."""

    def __init__(self, study: Study, console: Console, where: Where) -> None:
        self._console, self._where = console, where
        self._has_keys = console.is_terminal and where.may_control and not where.quiet and _has_keyboard()
        self._screen = Screen(hint=KEYS if self._has_keys else "")
        self._controls: asyncio.Queue[tuple[Control, int | None]] = asyncio.Queue()
        self._server: asyncio.subprocess.Process | None = None
        self._token = secrets.token_urlsafe(18)
        self.serving = Serving()
        """Where the page and the metrics are, once the cockpit is open."""
        listeners = [self._send]
        if not where.quiet:
            view = self._screen if console.is_terminal else Lines(lambda text: console.print(text, markup=False))
            listeners.append(view.take)
        self.state = LiveState(study, listeners)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Show the run while the block lasts.

        Raises:
            InputError: the page or the metrics cannot be served at that address.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._where.page is not None or self._where.metrics is not None:
                await stack.enter_async_context(self._served())
                self._say_where()
            if self._has_keys:
                stack.enter_context(self._keyboard())
            if self._console.is_terminal and not self._where.quiet:
                stack.enter_context(shown_on(self._console, self._screen))
            yield

    async def steer(self, run: Run) -> None:
        """Pass controls on to the run, until this is cancelled."""
        while True:
            control, number = await self._controls.get()
            try:
                applied = run.control(control)
            except (ControlError, GuardError) as error:
                self._answer(number, 409, str(error))
                continue
            told = f"{applied.words} from {applied.at_s:.1f} s on"
            self._answer(number, 200, json.dumps(applied.to_json()), told)

    def _answer(self, number: int | None, status: int, words: str, told: str = "") -> None:
        self._screen.told = told or words
        if number is not None:
            self._write(Answer(number, status, words))

    def _send(self, now: Snapshot) -> None:
        if self._server is not None:
            self._write(News(now.to_json()))

    def _write(self, line: FromRun) -> None:
        to = None if self._server is None else self._server.stdin
        if to is not None and not to.is_closing() and to.transport.get_write_buffer_size() < _MOST_UNSENT:
            to.write(TO_SERVER.encode(line))

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[None]:
        command = (sys.executable, "-m", "trunkproof.experiments.live.server")
        pipe = asyncio.subprocess.PIPE
        self._server = server = await start_process(command, stdin=pipe, stdout=pipe)
        where = self._where
        self._write(Setup(self._token, where.page, where.metrics, where.may_control, where.why_not))
        listening: asyncio.Task[None] | None = None
        try:
            assert server.stdout is not None
            async with asyncio.timeout(_SERVING_WITHIN_S):
                first = await server.stdout.readline()
            serving = TO_RUN.decode(first) if first else Serving(trouble="its server ended at once")
            assert isinstance(serving, Serving)
            if serving.trouble:
                option = "--live" if where.page is not None else "--prometheus"
                at = " and ".join(str(each) for each in (where.page, where.metrics) if each is not None)
                what = f"cannot be served at {at} ({serving.trouble}): name another port"
                raise InputError("load", [Problem(where=option, what=what)])
            self.serving = serving
            listening = asyncio.create_task(self._listen(server.stdout), name="live server")
            yield
        finally:
            self._server = None
            if listening is not None:
                listening.cancel()
            if server.stdin is not None:
                server.stdin.close()
            await gone_within(server, _GONE_WITHIN_S)

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            asked = TO_RUN.decode(line)
            if isinstance(asked, Asked):
                self._controls.put_nowait((Control(asked.kind, asked.per_minute), asked.number))
        # The calls go on without their page.
        logger.warning("the server of the live page has ended; the run goes on")

    def _say_where(self) -> None:
        page, metrics = self.serving.page, self.serving.metrics
        if page is not None:
            # The token is for whoever sits at this terminal: the whole address lets one control the run.
            self._where.say(f"live: http://{page}/?token={self._token}")
            if not page.is_loopback:
                self._where.say("others on this network can see the page and its token, which are not encrypted")
        if metrics is not None:
            self._where.say(f"metrics: http://{metrics}/metrics")

    @property
    def token(self) -> str:
        """Return what the page and the API ask for."""
        return self._token

    @contextlib.contextmanager
    def _keyboard(self) -> Iterator[None]:
        """Read single keys while the block runs. Ctrl-C stays a signal."""
        descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()

        sure_until = 0.0

        def pressed() -> None:
            nonlocal sure_until
            for key in os.read(descriptor, 64).decode("ascii", "ignore"):
                kind = _KEYS.get(key.lower())
                if kind is ControlKind.STOP and loop.time() > sure_until:
                    sure_until = loop.time() + _SURE_WITHIN_S
                    self._screen.told = "q ends every call at once: press it again"
                elif kind is not None:
                    self._controls.put_nowait((Control(kind), None))

        # Only a system with such terminals comes here, and only there are these modules.
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415

        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            loop.add_reader(descriptor, pressed)
            yield
        finally:
            loop.remove_reader(descriptor)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
