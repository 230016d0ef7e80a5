"""Members of a `TableKey` as keys."""

from __future__ import annotations

import copy
import pickle
from enum import auto

from trunkproof.loadgen.sip.table_key import TableKey


class _Colour(TableKey):
    RED = auto()
    BLUE = auto()


def test_members_are_found_in_tables_also_after_a_copy_and_a_pickle() -> None:
    table = {(colour, "x"): colour.name for colour in _Colour}
    assert table[_Colour.RED, "x"] == "RED"
    assert table[copy.deepcopy(_Colour.BLUE), "x"] == "BLUE"
    assert table[pickle.loads(pickle.dumps(_Colour.BLUE)), "x"] == "BLUE"
    assert len(set(_Colour)) == 2
