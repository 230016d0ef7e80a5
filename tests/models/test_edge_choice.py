import math

import numpy as np
import pytest

from trunkproof.models.edge_choice import BITS, EdgeChoice, orders, packed
from trunkproof.models.edges import Edge

CALLS = 20_000


def doors(*ranks: tuple[int, int]) -> list[Edge]:
    return [
        Edge(host=f"e{index}.example", priority=priority, weight=weight)
        for index, (priority, weight) in enumerate(ranks)
    ]


def test_rfc2782_priority_comes_first_and_weight_decides_among_equals() -> None:
    order = orders(doors((2, 9), (1, 3), (1, 1)), 7, "edge", 0, CALLS)

    assert (order[:, 2] == 0).all()
    first = (order[:, 0] == 1).mean()
    assert abs(first - 0.75) < 4.5 * math.sqrt(0.75 * 0.25 / CALLS)


def test_rfc2782_weight_0_comes_after_the_others_of_its_priority() -> None:
    order = orders(doors((1, 0), (1, 5), (2, 0), (2, 0)), 7, "edge", 0, CALLS)

    assert (order[:, :2] == [1, 0]).all()
    # Where all have weight 0, each is as likely.
    assert abs((order[:, 2] == 2).mean() - 0.5) < 4.5 * math.sqrt(0.25 / CALLS)


def test_the_order_of_a_call_does_not_depend_on_which_calls_are_drawn_with_it() -> None:
    some = doors((1, 1), (1, 2), (1, 3))
    assert np.array_equal(orders(some, 3, "edge", 100, 50), orders(some, 3, "edge", 0, 200)[100:150])


def test_a_packed_order_has_the_first_edge_in_its_lowest_bits() -> None:
    (number,) = packed(np.array([[2, 0, 1]]))
    assert [number >> BITS * place & 15 for place in range(3)] == [2, 0, 1]


@pytest.fixture
def choice() -> EdgeChoice:
    return EdgeChoice(doors((1, 1), (2, 1)), 1, recheck_s=30.0)


def test_an_edge_that_failed_is_tried_last_for_a_while_and_then_by_one_call(choice: EdgeChoice) -> None:
    assert choice.next(0, 0.0) == 0
    choice.failed(0, 0.0)

    assert choice.next(1, 29.9) == 1
    assert [choice.next(2, 30.0), choice.next(3, 30.0)] == [0, 1]


def test_an_edge_that_took_a_connection_is_used_again_at_once(choice: EdgeChoice) -> None:
    choice.failed(0, 0.0)
    choice.worked(0)
    assert choice.next(1, 1.0) == 0


def test_rfc3263_4_3_every_edge_is_tried_before_a_call_is_given_up(choice: EdgeChoice) -> None:
    choice.failed(0, 0.0)
    choice.failed(1, 0.0)

    assert [choice.next(0, 1.0, tried) for tried in (0b00, 0b01, 0b10, 0b11)] == [0, 1, 0, None]
