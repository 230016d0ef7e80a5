"""Serve the live page, the API and the metrics of a run, in a process of its own.

    python -m trunkproof.experiments.live.server

It reads the run's lines from standard input and writes its own to standard output (`messages`). So no browser and no
scraper takes time from the process that places calls. It ends when its input ends.

Who may talk to it: whoever has the token, and sends a Host that is ours (a page elsewhere cannot rebind a name to this
address), and no other Origin (a page elsewhere cannot send a form here). The metrics have no secrets and no token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import uvicorn
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.history import History
from trunkproof.experiments.live.messages import TO_RUN, TO_SERVER, Answer, Asked, FromRun, News, Serving, Setup
from trunkproof.experiments.live.metrics import SnapshotCollector, openmetrics
from trunkproof.experiments.live.snapshot import Snapshot
from trunkproof.loadgen.control import ControlKind

_PAGE = Path(__file__).with_name("page.html")
_ANSWERED_WITHIN_S = 5.0
_LONGEST_LINE = 1 << 22
_SILENT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
Handler = Callable[[Request], Awaitable[Response]]


class LiveServer:
    """The page and the API of one run. `tell` sends a line to the run."""

    def __init__(self, setup: Setup, tell: Callable[[Asked], None]) -> None:
        self._setup, self._tell = setup, tell
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._news = asyncio.Condition()
        self._hosts: set[str] = set()
        self._last = ""
        self._is_over = False
        self.history = History()
        self.collector = SnapshotCollector("")

    def serves_at(self, address: Address) -> None:
        """Take the address at which the page is served: only requests to it are answered."""
        names = {str(address)}
        if address.is_loopback:
            names |= {f"localhost:{address.port}", f"127.0.0.1:{address.port}"}
        self._hosts = names

    @property
    def page_app(self) -> Starlette:
        """Return the page and the API."""
        checked = self._checked
        return Starlette(
            routes=[
                Route("/", checked(self._page)),
                Route("/api/snapshot", checked(self._snapshot)),
                Route("/api/history", checked(self._history)),
                Route("/api/events", checked(self._events)),
                Route("/api/control", checked(self._control), methods=["POST"]),
            ]
        )

    @property
    def metrics_app(self) -> Starlette:
        """Return the page for Prometheus."""

        async def metrics(request: Request) -> Response:
            return Response(openmetrics(self.collector), headers={"Content-Type": CONTENT_TYPE_LATEST} | _SILENT)

        return Starlette(routes=[Route("/metrics", metrics)])

    async def take(self, line: FromRun) -> None:
        """Take a line of the run."""
        match line:
            case News(text):
                snapshot = Snapshot.from_json(text)
                self.history.add(snapshot)
                self.collector.snapshot = snapshot
                async with self._news:
                    self._last = text
                    self._news.notify_all()
            case Answer(number):
                if (waiting := self._waiting.pop(number, None)) is not None and not waiting.done():
                    waiting.set_result(line)

    async def close(self) -> None:
        """End all streams of events."""
        async with self._news:
            self._is_over = True
            self._news.notify_all()

    def _checked(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            host, origin = request.headers.get("host", ""), request.headers.get("origin")
            if host not in self._hosts:
                return _no(403, "this server is called by another name")
            if origin not in {None, f"http://{host}"}:
                return _no(403, "requests of other pages are not answered")
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
            token = bearer or request.query_params.get("token", "")
            # In constant time: the time of a comparison must not tell how much of a guess is right.
            if not hmac.compare_digest(token.encode(), self._setup.token.encode()):
                return _no(401, "the token is missing or wrong; the command printed the whole address")
            response = await handler(request)
            response.headers.update(_SILENT)
            return response

        return checked

    async def _page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'"
        more = "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:"
        told = json.dumps({"mayControl": self._setup.may_control, "whyNot": self._setup.why_not})
        # `<` would let a text end the script it stands in.
        text = _PAGE.read_text(encoding="utf-8").replace("NONCE", nonce).replace("SETUP", told.replace("<", "\\u003c"))
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": policy + more})

    async def _snapshot(self, request: Request) -> Response:
        return Response(self._last or "{}", media_type="application/json")

    async def _history(self, request: Request) -> Response:
        return JSONResponse(self.history.to_json())

    async def _events(self, request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            while not self._is_over:
                if sent := self._last:
                    yield f"event: snapshot\ndata: {sent}\n\n"
                async with self._news:
                    # Another one may have come while this one was written.
                    if sent == self._last and not self._is_over:
                        await self._news.wait()
            yield "event: over\ndata: {}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _control(self, request: Request) -> Response:
        # A form of another page cannot send this type without asking first.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _no(415, "send JSON, with Content-Type: application/json")
        asked = _asked(await request.body(), next(self._numbers))
        if isinstance(asked, str):
            return _no(400, asked)
        if not self._setup.may_control:
            return _no(409, self._setup.why_not)
        return await self._answered(asked)

    async def _answered(self, asked: Asked) -> Response:
        waiting = self._waiting[asked.number] = asyncio.get_running_loop().create_future()
        self._tell(asked)
        try:
            async with asyncio.timeout(_ANSWERED_WITHIN_S):
                answer = await waiting
        except TimeoutError:
            return _no(504, "the run did not answer in time")
        if answer.status != 200:
            return _no(answer.status, answer.words)
        return Response(answer.words, media_type="application/json")


def _no(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status, headers=_SILENT)


def _asked(body: bytes, number: int) -> Asked | str:
    """Return the control that a body asks for, or what is wrong with it."""
    known = ", ".join(ControlKind)
    try:
        wanted = json.loads(body)
        kind = ControlKind(wanted["control"])
        per_minute = wanted.get("per_minute")
        return Asked(number, kind, None if per_minute is None else float(per_minute))
    except (AttributeError, KeyError, TypeError, ValueError):
        return f'write {{"control": "rate", "per_minute": 250}}; the controls are {known}'


class _Quiet(uvicorn.Server):
    """A server that leaves signals alone: its process ends when the run does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve() -> None:
    """Serve until standard input ends."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=_LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    setup = TO_SERVER.decode(await reader.readline())
    assert isinstance(setup, Setup)
    server = LiveServer(setup, _write)
    try:
        bound = [(address, _listen(address)) for address in (setup.page, setup.metrics) if address is not None]
    except OSError as error:
        _write(Serving(trouble=error.strerror or str(error)))
        return
    places = [replace(address, port=one.getsockname()[1]) for address, one in bound]
    page = places[0] if setup.page is not None else None
    metrics = places[-1] if setup.metrics is not None else None
    if page is not None:
        server.serves_at(page)
    apps = [app for app, place in ((server.page_app, page), (server.metrics_app, metrics)) if place is not None]
    running = []
    for app, (_, one) in zip(apps, bound, strict=True):
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        http = _Quiet(config)
        running.append((http, asyncio.create_task(http.serve(sockets=[one]))))
    _write(Serving(page, metrics))
    while line := await reader.readline():
        await server.take(TO_SERVER.decode(line))
    await server.close()
    for http, _ in running:
        http.should_exit = True
    await asyncio.wait([task for _, task in running])


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family)


def _write(line: Serving | Asked) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(TO_RUN.encode(line))
        sys.stdout.buffer.flush()


def main() -> None:
    """Serve, behind everything that places calls."""
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve())


if __name__ == "__main__":
    main()
