"""The plan as the compiled model reads it: records in pieces, each small enough to stay in a processor's cache.

Several runs with the same callers can share the pieces (`shared`), so that random numbers are drawn only once for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, tee

import numpy as np

from trunkproof.models.draws import CALLS_PER_CHUNK, PlanArrays, drawn_chunks
from trunkproof.models.edge_choice import orders, packed
from trunkproof.models.numbering import check_rows
from trunkproof.models.plan import Plan
from trunkproof.models.study import Study
from trunkproof.simulator.kernel.memory import ROW, Records

Pieces = Iterator[Records]
"""One trunk's rows (`memory.ROW`) in the order of time. All attempts of a call are in the same piece."""
_LEAST_ROWS = 4096
_NAMES = tuple(set(ROW.names or ()) - {"follows", "edges"})


def pieces(study: Study, plan: Plan | None = None) -> list[Pieces]:
    """Return the pieces of each trunk. Without a plan they are drawn from the study, only as far as they are read.

    Raises:
        InputError: a trunk needs more rows than there are numbers to dial.
    """
    if plan is None:
        check_rows(study)
    return [_pieces(study, plan, trunk) for trunk in range(len(study.trunks))]


def shared(study: Study, runs: int, plan: Plan | None = None) -> list[list[Pieces]]:
    """Return the pieces of each trunk for each of several runs.

    Memory holds the pieces that some runs have read and others have not.
    """
    # `tee` keeps a piece until every run has taken it.
    by_trunk = [tee(each, runs) for each in pieces(study, plan)]
    return [list(each) for each in zip(*by_trunk, strict=True)]


def _pieces(study: Study, plan: Plan | None, trunk: int) -> Pieces:
    if plan is not None:
        yield from _cut(plan.arrays(trunk), study)
        return
    # With many trunks each holds a chunk at once, so chunks are smaller.
    for chunk in drawn_chunks(study, trunk, calls_per_chunk=max(1024, CALLS_PER_CHUNK // len(study.trunks))):
        yield from _cut(chunk, study)


def _cut(chunk: PlanArrays, study: Study) -> Pieces:
    # Cut only where a call begins: all attempts of a call must be in one piece.
    calls = np.flatnonzero(chunk.attempt == 0)
    cuts = np.searchsorted(calls, np.arange(_LEAST_ROWS, len(chunk), _LEAST_ROWS))
    bounds = [*calls[cuts[cuts < len(calls)]], len(chunk)]
    for first, end in pairwise([0, *dict.fromkeys(bounds)]):
        piece = np.zeros(end - first, dtype=ROW)
        for name in _NAMES:
            piece[name] = getattr(chunk, name)[first:end]
        if len(study.pop.doors) > 1:
            begin = int(piece["call"].min())
            order = orders(study.pop.doors, study.seed, "edge", begin, int(piece["call"].max()) - begin + 1)
            piece["edges"] = packed(order)[piece["call"] - begin]
        yield piece
