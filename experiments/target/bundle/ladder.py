"""Draw a call as a ladder of text: who sent what to whom, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trunkproof.experiments.target.bundle.text import title_of
from trunkproof.loadgen.capture.capture import AudioPacket, CapturedCall

_WIDTH = 50


def draw_ladder(call: CapturedCall) -> str:
    """Return the ladder of a call. We are on the left. The times count from its first message."""
    if not call.messages:
        return "No message was sent or received.\n"
    began_s = call.messages[0].at_s
    first = call.messages[0]
    ours, theirs = (f"{host}:{port}" for host, port in (first.local, first.peer))
    lines = [f"{'seconds':>10}  us {ours}  <->  {theirs}", ""]
    rungs = [(message.at_s, _rung(title_of(message.data), sent=message.sent)) for message in call.messages]
    rungs += _audio_rungs(call.audio)
    lines += [f"{at_s - began_s:10.3f}  {rung}" for at_s, rung in sorted(rungs, key=lambda rung: rung[0])]
    if call.messages_left_out:
        lines.append(f"{'':>10}  {call.messages_left_out} more messages were not kept")
    return "\n".join(lines) + "\n"


def _rung(title: str, *, sent: bool) -> str:
    room = max(0, _WIDTH - len(title))
    return f"| {title} {'-' * room}> |" if sent else f"| <{'-' * room} {title} |"


def _audio_rungs(audio: Sequence[AudioPacket]) -> list[tuple[float, str]]:
    """Return a rung for the first packet of each way between two ports."""
    ways = Counter((packet.sent, packet.local, packet.peer) for packet in audio)
    firsts = {(packet.sent, packet.local, packet.peer): packet.at_s for packet in reversed(audio)}
    return [
        (
            firsts[sent, local, peer],
            _rung(f"audio from {_port(local if sent else peer)} to {_port(peer if sent else local)}", sent=sent)
            + f"  {count} packets kept",
        )
        for (sent, local, peer), count in ways.items()
    ]


def _port(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
