"""A headless Chromium, driven over its debugging pipe: without a network, observed, and closed at the end.

It speaks just enough of the DevTools protocol to look at a page and to print it. It is not a general driver.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
_PATIENCE_S = 90.0
_GONE = "Chromium could not be started, or has ended"
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage",
)  # fmt: skip


class ChromiumError(RuntimeError):
    """No Chromium was found, or it failed. The message says which, in words for people."""


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name)) is not None), None)


class Browser:
    """One tab without a network. `complaints` has errors and logs of its page, `fetched` the addresses it asked for.

    Args:
        profile: a folder for this browser alone; Chromium makes it.

    Raises:
        ChromiumError: there is no Chromium, or it does not start or answer. Every method may raise it.
    """

    def __init__(self, profile: Path) -> None:
        program = find_chromium()
        if program is None:
            raise ChromiumError("there is no Chromium on this machine (Debian: apt-get install chromium)")
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self._number, self._session, self._rest = 0, "", b""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # As root, Chromium refuses to start with its sandbox.
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "-", program, *_FLAGS, *sandbox,
             f"--user-data-dir={profile}"],
            # Python closes all other descriptors in the child, so these two must be named.
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # Our copies of its ends: with them open, the pipe would not end when Chromium does, and we would wait in
        # vain.
        os.close(theirs_in)
        os.close(theirs_out)

    def __enter__(self) -> Self:
        try:
            # Commands go to the browser until a session is known, and to the tab from then on.
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            # A page must carry all it needs. A network would hide what it lacks.
            offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
            self.call("Network.emulateNetworkConditions", **offline)
        except ChromiumError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        # `Browser.close` is a command to the browser, not to its tab.
        self._session = ""
        try:
            self.call("Browser.close")
            self._process.wait(timeout=20)
        except (ChromiumError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1) -> None:
        """Load a file and wait until it is drawn. `scale` is the number of screen dots per pixel of the page."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        # Only of the page that is opened now.
        self.complaints.clear()
        self.fetched.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        # The event may have come before we ask for it, so the state is looked at too.
        self.value('new Promise((go) => document.readyState === "complete" ? go() : addEventListener("load", go))')
        # Loaded is not drawn: the page's script draws its figures in the next frames.
        self.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ChromiumError(f"a script failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, wherever the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self) -> bytes:
        """Return a picture of the whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return self._decoded("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)

    def screen(self) -> bytes:
        """Return a picture of the visible part as PNG."""
        return self._decoded("Page.captureScreenshot")

    def paper(self, **settings: Any) -> bytes:
        """Return the page as PDF, on the paper size that its style asks for. `settings` go to `Page.printToPDF`."""
        return self._decoded("Page.printToPDF", printBackground=True, preferCSSPageSize=True, **settings)

    def _decoded(self, method: str, **parameters: Any) -> bytes:
        return base64.b64decode(self.call(method, **parameters)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._out, json.dumps(message).encode() + b"\0")
        except OSError:
            raise ChromiumError(_GONE) from None
        number = self._number
        # Events of the page come in between and are noted on the way.
        answer = self._receive(lambda received: received.get("id") == number)
        if "error" in answer:
            raise ChromiumError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            while b"\0" not in self._rest:
                # One deadline for the whole answer: a page that logs without end must not keep us for ever.
                ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise ChromiumError(f"Chromium does not answer within {_PATIENCE_S:.0f} s")
                chunk = os.read(self._in, 1 << 20)
                if not chunk:
                    raise ChromiumError(_GONE)
                self._rest += chunk
            line, _, self._rest = self._rest.partition(b"\0")
            message: dict[str, Any] = json.loads(line)
            self._watch(message)
            if is_wanted(message):
                return message

    def _watch(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(json.dumps(parameters)[:2000])
            case "Network.requestWillBeSent":
                self.fetched.append(parameters["request"]["url"][:200])
