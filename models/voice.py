"""Voice quality as the E-model of ITU-T G.107 predicts it: delay and packet loss -> R factor -> mean opinion score.

Only what differs between calls of a trunk is modelled: all of G.107's other parameters stay at their defaults. Whether
a packet came too late to be played is decided before, by a jitter buffer; here a late packet is a lost one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.packets import PACKET_S

Numbers = float | FloatArray

R_DEFAULT = 93.2
"""R without delay and loss, all parameters at their defaults (G.107 table 2; Ro - Is)."""
MOS_MIN, MOS_MAX = 1.0, 4.5


JITTER_BUFFER_MS = 60.0
"""A fixed playout buffer of three packets, a common default of voice gateways."""
MOUTH_TO_EAR_MS = 1000 * PACKET_S + JITTER_BUFFER_MS
"""Of a call within one site. Both halves rate their calls with it: a real network's own delay is not seen from one
end.
"""


@dataclass(frozen=True, slots=True)
class Codec:
    """How a codec and its decoder bear loss (ITU-T G.113 appendix I)."""

    name: str
    ie: float
    """Equipment impairment factor without loss."""
    bpl: float
    """Packet-loss robustness factor."""


G711_CONCEALED = Codec("G.711 with packet loss concealment", ie=0.0, bpl=25.1)
G711_PLAIN = Codec("G.711 without packet loss concealment", ie=0.0, bpl=4.3)


def delay_impairment(delay_ms: Numbers) -> Numbers:
    """Return Id for a one-way delay, mouth to ear, in ms: the usual approximation of G.107 (Cole, Rosenbluth 2001)."""
    # Beyond 177.3 ms talking to each other becomes hard, and each further millisecond counts more.
    return 0.024 * delay_ms + 0.11 * np.maximum(delay_ms - 177.3, 0.0)


def loss_impairment(loss_share: Numbers, burst_ratio: Numbers = 1.0, codec: Codec = G711_CONCEALED) -> Numbers:
    """Return the effective equipment impairment Ie,eff (G.107 equation 7-29).

    Args:
        loss_share: packets lost or late, 0 to 1; float or array.
        burst_ratio: BurstR, 1 for independent losses (the function `burst_ratio` computes it).
        codec: what plays the packets.

    Raises:
        ValueError: a share outside of 0 to 1.
    """
    if not np.all((np.asarray(loss_share) >= 0) & (np.asarray(loss_share) <= 1)):
        raise ValueError(f"loss_share must lie in 0 to 1, not {loss_share}")
    percent = 100 * loss_share
    return codec.ie + (95 - codec.ie) * percent / (percent / burst_ratio + codec.bpl)


def burst_ratio(loss_share: Numbers, mean_burst_packets: Numbers) -> Numbers:
    """Return BurstR: the mean length of runs of lost packets, over the 1 / (1 - loss_share) of independent losses.

    At least 1, the lower end of G.107's range: losses spread more evenly than by chance count as independent.
    """
    ratio: Numbers = np.maximum(1.0, mean_burst_packets * (1 - loss_share))
    return ratio


@overload
def r_factor(delay_ms: float, loss_share: float, burst_ratio: float = ..., codec: Codec = ...) -> float: ...
@overload
def r_factor(
    delay_ms: Numbers, loss_share: FloatArray, burst_ratio: Numbers = ..., codec: Codec = ...
) -> FloatArray: ...
@overload
def r_factor(delay_ms: FloatArray, loss_share: float, burst_ratio: Numbers = ..., codec: Codec = ...) -> FloatArray: ...
def r_factor(
    delay_ms: Numbers, loss_share: Numbers, burst_ratio: Numbers = 1.0, codec: Codec = G711_CONCEALED
) -> Numbers:
    """Return the R factor: 93.2 - Id - Ie,eff (G.107 equation 7-1 at default values)."""
    return R_DEFAULT - delay_impairment(delay_ms) - loss_impairment(loss_share, burst_ratio, codec)


@overload
def mos(r: float) -> float: ...
@overload
def mos(r: FloatArray) -> FloatArray: ...
def mos(r: Numbers) -> Numbers:
    """Return the estimated mean opinion score of an R factor, 1 to 4.5 (G.107 annex B)."""
    inside = np.clip(r, 0.0, 100.0)
    score: Numbers = 1 + 0.035 * inside + inside * (inside - 60) * (100 - inside) * 7e-6
    # Between R = 0 and 6.5 the cubic dips below a score of 1.
    bounded: Numbers = np.maximum(MOS_MIN, score)
    return bounded


def r_factor_of_mos(score: float) -> float:
    """Return the R factor, 6.5 to 100, that gives this score: the inverse of `mos` (G.107 appendix I).

    Raises:
        ValueError: a score outside of 1 to 4.5.
    """
    if not MOS_MIN <= score <= MOS_MAX:
        raise ValueError(f"a mean opinion score lies in {MOS_MIN} to {MOS_MAX}, not {score}")
    root = 15 * math.sqrt(-903_522 + 1_113_960 * score - 202_500 * score**2)
    # The cubic solved by Cardano's formula. The second argument is negative above a score of 2.75: `atan2` stays on the
    # right branch there, where a plain arctangent would jump.
    angle = math.atan2(root, 18_566 - 6_750 * score) / 3
    return 20 / 3 * (8 - math.sqrt(226) * math.cos(angle + math.pi / 3))
