"""Which edge a call tries first, and which next: one rule for the model, the kernel and real calls.

The order of a call is drawn by priority and weight (RFC 2782) from the study's seed and the number of the call. So a
redial, and the same call in a prediction and in reality, try the same edges. What a customer has learnt of edges that
failed comes on top: those are tried last for a while (RFC 3263 section 4.3 leaves open for how long).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.edges import CustomerEdge, Edge
from trunkproof.models.streams import uniforms

BITS = 4
"""Bits of one edge in a packed order."""
_BLOCK = 1024


def ranked(doors: Sequence[Edge | CustomerEdge], draws: FloatArray) -> IntArray:
    """Return for each call the edges in the order in which it tries them.

    `draws` are uniform in (0, 1), of shape (calls, edges). Edges of weight 0 come after the others of their priority.
    """
    priority = np.array([door.priority for door in doors])
    weight = np.array([float(door.weight) for door in doors])
    # The one with the shortest exponential time at the rate of its weight is the first: that is the draw of RFC 2782.
    with np.errstate(divide="ignore"):
        times = -np.log(draws) / np.where(weight > 0, weight, 1.0)
    shape = draws.shape
    keys = (times, np.broadcast_to(weight == 0, shape), np.broadcast_to(priority, shape))
    order: IntArray = np.lexsort(keys, axis=-1)
    return order


def orders(doors: Sequence[Edge | CustomerEdge], seed: int, purpose: str, first: int, count: int) -> IntArray:
    """Return the orders of calls `first` to `first + count`: an array of shape (count, edges)."""
    edges = len(doors)
    if edges == 1:
        return np.zeros((count, 1), dtype=np.int64)
    draws = uniforms(seed, purpose, start=first * edges, count=count * edges)
    return ranked(doors, draws.reshape(count, edges))


def packed(order: IntArray) -> IntArray:
    """Return each order as one number: the first edge in the lowest bits."""
    places = BITS * np.arange(order.shape[1])
    return np.asarray((order << places).sum(axis=1), dtype=np.int64)


class EdgeChoice:
    """One customer's choice of edges. `purpose` keys the draws: "edge" for calls out, "customer edge" for calls in."""

    def __init__(
        self, doors: Sequence[Edge | CustomerEdge], seed: int, recheck_s: float, purpose: str = "edge"
    ) -> None:
        self._doors, self._seed, self._purpose, self._recheck_s = doors, seed, purpose, recheck_s
        self._block, self._orders = -1, np.zeros((0, len(doors)), dtype=np.int64)
        self._avoided_until_s = [-math.inf] * len(doors)

    def next(self, call: int, now: float, tried: int = 0) -> int | None:
        """Return the edge that a call tries next, or None where none is left. `tried` has a bit for each tried one."""
        left = [edge for edge in self._order(call) if not tried >> edge & 1]
        if not left:
            return None
        edge = self._best(left, now)
        # One call tries an edge that has failed. The others avoid it until that call knows.
        if -math.inf < self._avoided_until_s[edge] <= now:
            self.failed(edge, now)
        return edge

    def likely(self, call: int, now: float) -> int:
        """Return what `next` would for a call that has tried no edge, without promising that the call comes."""
        return self._best(self._order(call), now)

    def _best(self, left: Sequence[int], now: float) -> int:
        return next((edge for edge in left if self._avoided_until_s[edge] <= now), left[0])

    def failed(self, edge: int, now: float) -> None:
        """Avoid an edge for a while: no connection could be had, or it did not answer."""
        self._avoided_until_s[edge] = now + self._recheck_s

    def worked(self, edge: int) -> None:
        """Use an edge again: it took a connection."""
        self._avoided_until_s[edge] = -math.inf

    def _order(self, call: int) -> Sequence[int]:
        if len(self._doors) == 1:
            return (0,)
        # Drawn in blocks: to begin a stream takes longer than to draw from it.
        block, place = divmod(call, _BLOCK)
        if block != self._block:
            self._orders = orders(self._doors, self._seed, self._purpose, block * _BLOCK, _BLOCK)
            self._block = block
        order: list[int] = self._orders[place].tolist()
        return order
