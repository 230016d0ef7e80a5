"""Kinds of datagrams and sources, in compiled code. All that is counted of them is in `test_same`."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.loadgen.media import datagrams
from trunkproof.loadgen.media.compiled.hear import clear_state, expected, find, kind_of
from trunkproof.loadgen.media.compiled.memory import NEVER, SLOT, SOURCE, STATE


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 11, 12, 40])
def test_rfc7983_7_kinds_are_those_of_plain_python(size: int) -> None:
    data = np.zeros(64, np.uint8)
    for first in range(256):
        for second in (0, 8, 191, 192, 200, 223, 224, 255):
            data[0], data[1] = first, second
            assert kind_of(data, 0, size) == datagrams.kind_of(bytes(data[:size])), (first, second)


def test_a_source_is_found_by_its_ssrc_among_those_that_are_known() -> None:
    slot = np.zeros(1, SLOT)[0]
    slot["sources"]["ssrc"] = [5, 6, 7, 8, 9, 10, 11, 12]
    slot["source_count"] = 3
    assert [find(slot, ssrc) for ssrc in (5, 7, 8)] == [0, 2, NEVER]


def test_a_3_expected_is_from_the_first_to_the_highest_and_what_was_before() -> None:
    source = np.zeros(1, SOURCE)[0]
    source["first"], source["expected_before"] = NEVER, 10
    assert expected(source) == 10
    source["first"], source["highest"] = 65_540, 65_549
    assert expected(source) == 20


def test_a_state_is_cleared_for_a_new_key() -> None:
    state = np.zeros(1, STATE)[0]
    state["index"], state["recent"] = 70_000, 255
    clear_state(state)
    assert state["index"] == 0
    assert not state["recent"].any()
