"""The live page and its API while real calls run: in a browser, by other programs, and for whoever may not."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.cockpit import Cockpit, Where
from trunkproof.experiments.load.result import LoadResult
from trunkproof.experiments.load.run import load_async
from trunkproof.experiments.report.chromium import Browser, find_chromium
from trunkproof.loadgen.control import ControlKind
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.study import Study

WITHIN_S = 30.0


def study(seconds: float = 600.0, **more: Any) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 240},
        "holding": {"kind": "exponential", "mean_s": 1},
        "ringing": 0.2,
        "outcomes": {"busy": 0.2},
    }
    throttle = {"policy": "fixed_window", "limit": 15, "window_s": 5}
    trunk = {"customer_address": "127.0.0.62", "throttle": throttle, "traffic": traffic | more}
    return Study.model_validate({"name": "watched <b>live</b>", "duration_s": seconds, "trunks": [trunk]})


def watched(tmp_path: Path, watch: Callable[[Cockpit], None], asked: Study, where: Where) -> LoadResult:
    """The result of a load test that is watched, and ended, from a thread."""

    async def run() -> LoadResult:
        cockpit = Cockpit(asked, Console(file=io.StringIO()), where)
        stop = asyncio.Event()
        async with running_trunk(asked, tmp_path / "trunk") as card, cockpit.open():
            options = replace(DEFAULTS, observers=(cockpit.state,))
            loading = load_async(asked, card, options=options, stop=stop, beside=cockpit.steer)
            result = asyncio.create_task(loading)
            try:
                await asyncio.to_thread(watch, cockpit)
            finally:
                stop.set()
                await asyncio.wait([result])
            return result.result()

    return asyncio.run(run())


class Api:
    def __init__(self, cockpit: Cockpit) -> None:
        assert cockpit.serving.page is not None
        self.place, self._token = str(cockpit.serving.page), cockpit.token
        self._metrics = str(cockpit.serving.metrics)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"} | headers
        with contextlib.closing(http.client.HTTPConnection(self.place, timeout=10)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def metrics(self) -> str:
        with contextlib.closing(http.client.HTTPConnection(self._metrics, timeout=10)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def control(self, **values: Any) -> tuple[int, Any]:
        return self.ask("POST", "/api/control", json.dumps(values))

    def snapshot(self) -> Any:
        return self.ask("GET", "/api/snapshot")[1]

    def until(self, holds: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if (now := self.snapshot()) and holds(now):
                return now
            time.sleep(0.2)
        raise AssertionError(f"it did not come to that: {now}")


def test_other_programs_watch_control_and_scrape_a_run(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def watch(cockpit: Cockpit) -> None:
        api = Api(cockpit)
        api.until(lambda now: now["answered"] > 0 and now["refused"])
        status, found = api.control(control="rate", per_minute=480)
        assert (status, found["per_minute"]) == (200, pytest.approx(480.0))
        assert api.until(lambda now: now["asked_per_minute"] > 470)["controls"][0]["words"] == "rate 480 CPM"
        for values, wrong in (({"control": "rate"}, 409), ({"control": "up"}, 400), ({"rate": 1}, 400)):
            status, found = api.control(**values)
            assert (status, list(found)) == (wrong, ["error"])
        for headers in ({"Host": "rebound.example"}, {"Origin": "http://elsewhere.example"}):
            assert api.ask("GET", "/api/snapshot", **headers)[0] == 403
        for path in ("/", "/api/history", "/api/events", "/api/snapshot?token=guess"):
            assert api.ask("GET", path, Authorization="")[0] == 401
        assert api.ask("POST", "/api/control", "{}", **{"Content-Type": "text/plain"})[0] == 415
        families = {family.name: family for family in text_string_to_metric_families(api.metrics())}
        refused = families["trunkproof_attempts_refused"].samples
        seen["refused"] = {each.labels["status"]: each.value for each in refused}
        delays = families["trunkproof_session_request_delay_seconds"].samples
        seen["delays"] = next(each.value for each in delays if each.labels.get("le") == "+Inf")
        assert api.control(control="drain")[0] == 200
        assert api.control(control="faster")[0] == 409

    where = Where(page=Address(), metrics=Address())
    result = watched(tmp_path, watch, study(), where)
    assert [one.kind for one in result.controls] == [ControlKind.RATE, ControlKind.DRAIN]
    assert seen["refused"]["503"] > 0
    assert 0 < seen["delays"] <= result.records["ringing_s"].count()
    assert result.records["intended_s"].max() <= result.controls[-1].at_s


def test_a_run_that_may_not_be_controlled_says_why(tmp_path: Path) -> None:
    def watch(cockpit: Cockpit) -> None:
        api = Api(cockpit)
        api.until(lambda now: now["begun"] > 0)
        assert api.control(control="pause") == (409, {"error": "it is a proof"})

    result = watched(tmp_path, watch, study(), Where(page=Address(), may_control=False, why_not="it is a proof"))
    assert result.controls == ()


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_a_browser_watches_and_steers_a_run(tmp_path: Path) -> None:
    def watch(cockpit: Cockpit) -> None:
        api = Api(cockpit)
        with Browser(tmp_path / "browser") as browser:
            online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            browser.call("Network.emulateNetworkConditions", **online)
            browser.call("Page.navigate", url=f"http://{api.place}/?token={cockpit.token}")
            api.until(lambda now: now["answered"] > 3)
            drawn = 'document.querySelectorAll("svg path.a").length >= 3'
            look = f"const look = () => {drawn} ? go() : setTimeout(look, 100); look()"
            browser.value(f"new Promise((go) => {{ {look} }})")
            assert browser.value('document.getElementById("study").textContent') == "watched <b>live</b>"
            browser.value('document.getElementById("rate").value = 900; document.getElementById("set").click()')
            api.until(lambda now: now["asked_per_minute"] > 890)
            browser.press("p", 80)
            api.until(lambda now: now["state"] == "paused")
            browser.press("r", 82)
            api.until(lambda now: now["state"] == "running")
            for width, dark in ((390, False), (390, True), (1366, False), (1366, True)):
                size = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False}
                browser.call("Emulation.setDeviceMetricsOverride", **size)
                scheme = "dark" if dark else "light"
                browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                browser.value("new Promise((go) => setTimeout(go, 1200))")
                assert browser.value("document.documentElement.scrollWidth <= innerWidth"), width
                (tmp_path / f"live-{width}-{scheme}.png").write_bytes(browser.picture())
            browser.value('document.querySelector("[data-control=drain]").click()')
            api.until(lambda now: now["state"] == "draining")
            assert browser.value('document.querySelectorAll("line.mark").length') >= 4
            assert not browser.complaints
            assert all(address.startswith((f"http://{api.place}/", "data:")) for address in browser.fetched)

    result = watched(tmp_path, watch, study(), Where(page=Address()))
    kinds = [one.kind for one in result.controls]
    assert kinds == [ControlKind.RATE, ControlKind.PAUSE, ControlKind.RESUME, ControlKind.DRAIN]
