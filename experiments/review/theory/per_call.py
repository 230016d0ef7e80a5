"""Compute what one attempt of the fitted traffic takes of the PoP, and what the PoP's other trunks take already.

Figures are means over all attempts that the trunk lets pass, answered or not. A refused attempt takes next to nothing
and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trunkproof.experiments.prediction.twin import channel_time_s
from trunkproof.experiments.review.request import Request
from trunkproof.models.costs import Costs
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.study import Pop
from trunkproof.models.traffic import TlsPolicy, Traffic


@dataclass(frozen=True)
class PerCall:
    """What one attempt that passes the trunk takes, on average."""

    channel_s: float
    """Seconds for which it keeps a channel: set-up, ringing and talk."""
    port_s: float
    """Seconds for which it keeps its port pairs, quarantine included."""
    audio_s: float
    """Seconds of audio: the share answered times the mean hold."""
    cpu_s: float
    """CPU seconds, as of one core."""

    @classmethod
    def of(cls, traffic: Traffic, pop: Pop, costs: Costs) -> PerCall:
        """Return what an attempt of this traffic takes on that PoP."""
        mix = traffic.outcomes
        audio_s = mix.answered * traffic.holding.mean()
        channel_s = channel_time_s(pop, traffic)
        cpu_s = costs.invite_s + mix.answered * costs.bye_s + audio_s * PACKETS_PER_CALL_S * costs.packet_s
        return cls(channel_s, channel_s + pop.ports.quarantine_s, audio_s, cpu_s + _handshakes_s(traffic, costs))

    def with_hold(self, factor: float, share: float = 1.0) -> PerCall:
        """Return the same with talk longer by that factor. `share` is the part of the CPU that audio costs."""
        more_s = self.audio_s * (factor - 1)
        cpu_s = self.cpu_s * (1 + share * (factor - 1))
        return replace(
            self,
            channel_s=self.channel_s + more_s,
            port_s=self.port_s + more_s,
            audio_s=self.audio_s + more_s,
            cpu_s=cpu_s,
        )


def _handshakes_s(traffic: Traffic, costs: Costs) -> float:
    if traffic.tls.policy is not TlsPolicy.PER_CALL:
        return 0.0
    resumed = traffic.tls.resumption_share
    return resumed * costs.resumed_handshake_s + (1 - resumed) * costs.full_handshake_s


@dataclass(frozen=True)
class Others:
    """What the neighbours take, with each one's calls cut at its throttle."""

    per_minute: float
    erlang: float
    """Erlangs in the channels that the reviewed trunk uses too; 0 where every account has channels of its own."""
    port_erlang: float
    cpu_cores: float

    @classmethod
    def of(cls, request: Request, costs: Costs) -> Others:
        """Return what the neighbours of a request take."""
        pop, mine = (
            request.pop,
            [(each.throttle.passed(each.per_minute, 60.0), each.mean_hold_s) for each in request.neighbours],
        )
        setup_s = pop.carrier.setup.mean()
        return cls(
            per_minute=sum(rate for rate, _ in mine),
            erlang=0.0 if pop.carrier.channels_per == "account" else _erlang(mine, setup_s),
            port_erlang=_erlang(mine, setup_s + pop.ports.quarantine_s),
            cpu_cores=sum(
                rate / 60 * (costs.invite_s + costs.bye_s + hold_s * PACKETS_PER_CALL_S * costs.packet_s)
                for rate, hold_s in mine
            ),
        )


def _erlang(calls: Sequence[tuple[float, float]], extra_s: float) -> float:
    return sum(rate / 60 * (hold_s + extra_s) for rate, hold_s in calls)
