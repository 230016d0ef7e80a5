"""What a stream's record takes from new terms. That it equals the plain stream is in `test_same`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tests.loadgen.media.listeners import fresh_stream

from trunkproof.loadgen.media.compiled.change import adopt, note_answer, stop_silence
from trunkproof.loadgen.media.compiled.memory import SLOT, new_terms
from trunkproof.loadgen.media.compiled.records import describe, reset
from trunkproof.loadgen.media.voiceprint import Side


def _slot() -> Any:
    slots = np.zeros(1, SLOT)
    reset(slots, 0)
    describe(slots[0], fresh_stream(side=Side.CALLED), None, None)
    return slots[0]


def test_rfc3261_13_2_1_early_terms_answer_nothing() -> None:
    slot, terms = _slot(), new_terms()[0]
    terms["early"] = terms["hears"] = 1
    adopt(slot, terms, 3.0)
    assert math.isinf(slot["answered"])
    note_answer(slot, 4.0)
    note_answer(slot, 5.0)
    assert (slot["answered"], slot["silent_since"]) == (4.0, 4.0)


def test_nothing_is_answered_before_anything_is_agreed() -> None:
    slot = _slot()
    note_answer(slot, 4.0)
    assert math.isinf(slot["answered"])


def test_rfc3264_8_4_on_hold_silence_is_noted_and_stops() -> None:
    slot, terms = _slot(), new_terms()[0]
    terms["hears"] = 1
    adopt(slot, terms, 3.0)
    terms["hears"] = 0
    adopt(slot, terms, 5.0)
    stop_silence(slot, 60.0)
    assert (slot["longest_s"], math.isnan(slot["silent_since"])) == (2.0, True)
