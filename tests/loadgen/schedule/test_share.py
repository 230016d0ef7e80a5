"""Calls are shared out so that every connection is one worker's, and a study that this would change is refused."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.schedule.share import WHOLE, check_divisible, share_of
from trunkproof.loadgen.system.ports import customer_ports
from trunkproof.models.errors import InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study


def study(*policies: dict[str, Any]) -> Study:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 600}, "holding": 1, "redial": {"probability": 0.5}}
    trunks = [
        {"name": f"t{n}", "account": f"account{n}", "customer_address": f"127.0.0.{40 + n}"}
        | {"traffic": traffic | {"tls": tls}}
        for n, tls in enumerate(policies)
    ]
    return Study.model_validate({"name": "shared", "duration_s": 6, "trunks": trunks})


POLICIES = st.one_of(
    st.just({"policy": "persistent"}),
    st.just({"policy": "per_call"}),
    st.builds(lambda size: {"policy": "pool", "pool_size": size}, st.integers(1, 9)),
)


@given(st.lists(POLICIES, min_size=1, max_size=3), st.integers(1, 5))
def test_every_attempt_and_every_connection_is_one_workers(policies: list[dict[str, Any]], workers: int) -> None:
    question = study(*policies)
    shares = [share_of(question, index, workers) for index in range(workers)]
    by_call, by_connection = defaultdict(set), defaultdict(set)
    for row in draw_plan(question).rows.values():
        (owner,) = [share.index for share in shares if share.places(row)]
        by_call[row.call].add(owner)
        tls = question.trunks[row.trunk].traffic.tls
        if tls.policy != "per_call":
            by_connection[row.trunk, row.call % (tls.pool_size if tls.policy == "pool" else 1)].add(owner)
    assert all(len(owners) == 1 for owners in (by_call | by_connection).values())


def test_a_pool_is_divided_evenly_and_customers_with_one_connection_each_are_too() -> None:
    pooled = study({"policy": "pool", "pool_size": 4})
    single = study({"policy": "persistent"}, {"policy": "persistent"})
    for question in (pooled, single):
        shares = [share_of(question, index, 2) for index in range(2)]
        rows = list(draw_plan(question).rows.values())
        counts = [sum(share.places(row) for row in rows if row.attempt == 0) for share in shares]
        assert abs(counts[0] - counts[1]) <= 1


def test_one_worker_has_everything_and_several_have_nothing_twice() -> None:
    assert WHOLE.listens(3)
    assert WHOLE.ports == customer_ports()
    shares = [share_of(study({"policy": "per_call"}), index, 3) for index in range(3)]
    assert [sum(share.listens(trunk) for share in shares) for trunk in range(5)] == [1] * 5
    edges = [port for share in shares for port in share.ports]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == customer_ports()
    assert all(low % 2 == 0 and high - low > 3000 for low, high in (share.ports for share in shares))


@pytest.mark.parametrize(
    ("policies", "workers"),
    [
        ([{"policy": "persistent"}], 1),
        ([{"policy": "persistent", "resumption_share": 1}] * 2, 2),
        ([{"policy": "pool", "pool_size": 3}], 3),
        ([{"policy": "per_call"}], 9),
        ([{"policy": "persistent"}, {"policy": "per_call"}], 4),
    ],
)
def test_what_keeps_its_connections_is_divisible(policies: list[dict[str, Any]], workers: int) -> None:
    check_divisible(study(*policies), workers)


@pytest.mark.parametrize(
    ("policies", "workers", "where", "words"),
    [
        ([{"policy": "persistent"}], 2, ["traffic.tls.policy"], "persistent is 1 TLS connection, each of which"),
        ([{"policy": "pool", "pool_size": 2}], 3, ["traffic.tls.policy"], "pool_size of at least 3"),
        (
            [{"policy": "persistent"}] * 2,
            3,
            ["trunks[0].traffic.tls.policy", "trunks[1].traffic.tls.policy"],
            "or per_",
        ),
        ([{"policy": "per_call", "resumption_share": 0.5}], 2, ["traffic.tls.resumption_share"], "full handshake"),
        (
            [{"policy": "pool", "pool_size": 2, "resumption_share": 1}],
            3,
            ["traffic.tls.policy", "traffic.tls.resumption_share"],
            "leave --workers out",
        ),
    ],
)
def test_what_would_open_other_connections_is_refused_by_name(
    policies: list[dict[str, Any]], workers: int, where: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_divisible(study(*policies), workers)
    assert [problem.where for problem in caught.value.problems] == where


def test_limits_of_a_number_are_kept_by_one_process() -> None:
    listed = study({"policy": "per_call"}).model_dump()
    for limit, divisible in ((None, True), (5, False)):
        entry = {"number": "+918040005551", "far_end": "echo", "at_once": limit}
        listed["trunks"][0]["traffic"]["destinations"] = [entry]
        made = Study.model_validate(listed)
        check_divisible(made, 1)
        with contextlib.nullcontext() if divisible else pytest.raises(InputError, match="leave --workers out"):
            check_divisible(made, 2)
