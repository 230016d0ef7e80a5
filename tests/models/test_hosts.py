"""Tests of hosts as a study names them."""

from __future__ import annotations

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study

_REST = """
traffic:
  arrivals: {kind: constant, rate_per_minute: 60}
  holding: {kind: constant, value_s: 1}
"""


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("proxy.example.org:5061", "proxy.example.org", 5061),
        ("proxy.example.org", "proxy.example.org", None),
        ("'[::1]:5061'", "::1", 5061),
        ("127.0.0.9", "127.0.0.9", None),
    ],
)
def test_a_proxy_is_a_host_with_or_without_a_port(written: str, host: str, port: int | None) -> None:
    study = parse_study(f"trunk: {{outbound_proxy: {written}, transport: tcp, media: rtp}}{_REST}")
    proxy = study.trunks[0].outbound_proxy
    assert proxy is not None
    assert (proxy.host, proxy.port, str(proxy)) == (host, port, written.strip("'"))
    assert Study.model_validate_json(study.model_dump_json()) == study


@pytest.mark.parametrize("written", ["'a b:5061'", "proxy.example.org:99999", "'::1'", "''"])
def test_what_is_no_host_is_told_at_its_key(written: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(f"trunk: {{outbound_proxy: {written}}}{_REST}")
    (problem,) = caught.value.problems
    assert problem.where.startswith("trunk.outbound_proxy")
    assert problem.line == 1
