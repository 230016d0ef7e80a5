"""Read a program's Prometheus page: one request, one table of numbers.

It follows no redirect and uses no proxy, so that it asks only the address that the guard has approved. It keeps
nothing: `report` sums the numbers up over a run.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from trunkproof.loadgen.guard import Guard
from trunkproof.models.errors import InputError, Problem, RemoteError, StackError

_LONGEST_PAGE = 16 * 1024 * 1024
_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Page:
    """The numbers of a page by name, in the form `name{label="value"}` with labels in alphabetical order.

    The names of counters end in `_total`: the format demands it, and the parser adds it where it is missing. Samples
    that are not finite numbers are left out.
    """

    values: Mapping[str, float]
    kinds: Mapping[str, str]
    """The kind that the page declares for each: counter, gauge, histogram, summary, or unknown (all of Kamailio's)."""


class PrometheusPage:
    """A page that the guard allows us to read.

    Raises:
        InputError: the address is not one of plain HTTP.
        GuardError: its host is neither this machine nor allowed by the user.
        StackError: its host does not resolve.
    """

    def __init__(self, url: str, guard: Guard | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InputError(
                url, [Problem(where="metrics", what="is not an address such as http://127.0.0.1:9090/metrics")]
            )
        # A page is read and not called, so its rate is 0 calls a minute, which every confirmed ceiling allows.
        self._target = (guard or Guard()).check(parts.hostname, parts.port or 80, 0.0)
        # The name and not the number that it resolved to, because a server may serve several names. A user and
        # password before the @ are left out.
        self._host = parts.netloc.rpartition("@")[2]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self.url = url

    async def read(self) -> Page:
        """Fetch the page, in a thread.

        Raises:
            StackError: nobody answers within the time-out.
            RemoteError: the answer is no Prometheus page.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Page:
        try:
            text = self._fetch()
        except OSError as error:
            raise StackError(f"{self.url} does not answer: {error}") from error
        except (http.client.HTTPException, UnicodeError) as error:
            raise RemoteError(f"{self.url} does not speak HTTP: {error!r}") from error
        return parse(text, self.url)

    def _fetch(self) -> str:
        until = time.monotonic() + self._timeout_s
        connection = http.client.HTTPConnection(self._target.address, self._target.port, timeout=self._timeout_s)
        try:
            connection.request("GET", self._path, headers={"Host": self._host, "Connection": "close"})
            with connection.getresponse() as response:
                if response.status != http.HTTPStatus.OK:
                    raise RemoteError(f"{self.url} answers {response.status} {response.reason}")
                return self._body(response, until).decode()
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, until: float) -> bytes:
        body = b""
        while piece := response.read1(65536):
            body += piece
            # The socket's own time-out is for each piece: a page that comes byte by byte would hold the thread forever.
            if time.monotonic() > until or len(body) > _LONGEST_PAGE:
                raise TimeoutError("the page does not end")
        return body


def parse(text: str, source: str = "the page") -> Page:
    """Read the numbers of a page in the Prometheus text format. `source` names the page in the error.

    Raises:
        RemoteError: the text is not in that format.
    """
    try:
        samples = [
            (_name(sample.name, sample.labels), float(sample.value), family.type)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except (ValueError, KeyError, IndexError) as error:
        raise RemoteError(f"{source} is no Prometheus page: {error}") from error
    # NaN fails this comparison too. Neither can be summed up or written as JSON.
    finite = [sample for sample in samples if abs(sample[1]) < float("inf")]
    return Page({name: value for name, value, _ in finite}, {name: kind for name, _, kind in finite})


def _name(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
    return f"{name}{{{inside}}}" if inside else name
