"""Reads a program's Prometheus page: one request, one table of numbers.

It follows no redirect and obeys no proxy, so that what the guard approved is what is asked. It keeps nothing; what a
page's numbers come to over a run is the report's business.
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
    """The numbers of a page, under their names as `name{label="value"}`, labels in alphabetical order.

    Counters' names end in `_total`, which the format asks for and the parser adds where it is missing. Samples that are
    no finite number are left out.
    """

    values: Mapping[str, float]
    kinds: Mapping[str, str]
    """What the page declares each to be: counter, gauge, histogram, summary, or unknown (as all of Kamailio's are)."""


class PrometheusPage:
    """A page that may be asked.

    Raises:
        InputError: the address is not one of plain HTTP.
        GuardError: its host is neither this machine nor allowed by the user.
        StackError: its host does not resolve.
    """

    def __init__(self, url: str, guard: Guard | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InputError(
                url, [Problem(where="metrics", what="is no address such as http://127.0.0.1:9090/metrics")]
            )
        # A page is read, not called: no rate needs confirming beyond the user's own ceiling.
        self._target = (guard or Guard()).check(parts.hostname, parts.port or 80, 0.0)
        self._host = parts.netloc.rpartition("@")[2]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self.url = url

    async def read(self) -> Page:
        """Fetch the page, in a thread.

        Raises:
            StackError: nobody answers within the time-out.
            RemoteError: what answers is no Prometheus page.
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
            # The socket's own time-out is per piece: a page that drips would hold the thread for ever.
            if time.monotonic() > until or len(body) > _LONGEST_PAGE:
                raise TimeoutError("the page does not end")
        return body


def parse(text: str, source: str = "the page") -> Page:
    """The numbers of a page in the Prometheus text format.

    Raises:
        RemoteError: it is not in that format.
    """
    try:
        samples = [
            (_name(sample.name, sample.labels), float(sample.value), family.type)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except (ValueError, KeyError, IndexError) as error:
        raise RemoteError(f"{source} is no Prometheus page: {error}") from error
    finite = [sample for sample in samples if abs(sample[1]) < float("inf")]
    return Page({name: value for name, value, _ in finite}, {name: kind for name, _, kind in finite})


def _name(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
    return f"{name}{{{inside}}}" if inside else name
