"""Write a bundle: a zip with all that an operator's support asks for, about the chosen calls of one run."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.experiments.target.bundle.chosen import ChosenCall, choose
from trunkproof.experiments.target.bundle.ladder import draw_ladder
from trunkproof.experiments.target.bundle.packets import sip_pdu, tcp_packets, udp_packet
from trunkproof.experiments.target.bundle.pcapng import LINK_RAW_IP, LINK_UPPER_PDU, PcapngWriter
from trunkproof.experiments.target.bundle.readme import readme, summary
from trunkproof.experiments.target.bundle.srtp import Decrypter, is_rtcp, silent
from trunkproof.experiments.target.bundle.text import for_clear_audio, keys_in, masked_message
from trunkproof.loadgen.capture.capture import AudioPacket, Message, Stream
from trunkproof.loadgen.sip.sdes import write_crypto
from trunkproof.models.errors import InputError, Problem

CLEAR, AS_SENT, KEYS = "calls.pcapng", "as_sent.pcapng", "srtp_keys.txt"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written."""

    path: Path
    masked: bool
    calls: tuple[dict[str, Any], ...]
    """The facts of each call (`ChosenCall.facts`)."""


def write_bundle(source: Path, to: Path, *, which: CallChoice, masked: bool = True) -> Bundle:
    """Write a bundle of the chosen calls.

    Args:
        source: the result folder of a run with a capture (`RunOptions.capture`).
        to: the zip to write.
        which: the calls.
        masked: hide numbers, keys and credentials. Without it the bundle can be decrypted.

    Raises:
        InputError: the folder has no capture, none of the chosen calls was captured, or the zip cannot be written.
    """
    calls, unconnected = choose(source, which)
    facts = tuple(call.facts(masked=masked) for call in calls)
    files = {
        "README.txt": readme(calls, masked=masked).encode(),
        "summary.txt": summary(facts).encode(),
        "summary.json": json.dumps({"masked": masked, "calls": facts}, indent=2).encode(),
        CLEAR: _clear_file(calls, masked=masked),
    }
    if not masked:
        files |= {AS_SENT: _as_sent_file(calls, unconnected), KEYS: _key_file(calls).encode()}
    for call in calls:
        files[f"calls/{call.name}/ladder.txt"] = draw_ladder(call.captured).encode()
        files[f"calls/{call.name}/sip.txt"] = b"".join(_texts(call.captured.messages, masked=masked))
    try:
        _write_zip(files, to)
    except OSError as error:
        raise InputError("--out", [Problem(where=str(to), what=f"cannot be written ({error.strerror})")]) from error
    return Bundle(to, masked, facts)


def _write_zip(files: dict[str, bytes], to: Path) -> None:
    # Aside, and then at once: whoever sends it away must not send half of it. Only its owner may read it.
    descriptor, aside = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        Path(aside).replace(to)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def _texts(messages: Sequence[Message], *, masked: bool) -> Iterator[bytes]:
    for message in messages:
        local, peer = (f"{host}:{port}" for host, port in (message.local, message.peer))
        way = f"{local} -> {peer} sent" if message.sent else f"{peer} -> {local} received"
        yield f"--- {message.at_s:.6f} {way}\n".encode()
        yield (masked_message(message.data) if masked else message.data) + b"\n"


def _clear_file(calls: Sequence[ChosenCall], *, masked: bool) -> bytes:
    """Return the calls in the clear: each SIP message, and the audio. Masked audio is silent."""
    packets: list[tuple[float, bool, bytes]] = []
    for call in calls:
        for message in call.captured.messages:
            data = for_clear_audio(masked_message(message.data) if masked else message.data)
            packets.append((message.at_s, True, sip_pdu(*_ends(message), data)))
        for packet, clear in _clear_audio(call):
            if not masked:
                packets.append((packet.at_s, False, udp_packet(*_ends(packet), clear)))
            # A peer may name itself in RTCP, by its number.
            elif not is_rtcp(clear):
                packets.append((packet.at_s, False, udp_packet(*_ends(packet), silent(clear))))
    file = BytesIO()
    writer = PcapngWriter(file, "SIP and audio of single calls, decrypted by trunkproof")
    interfaces = {True: writer.interface(LINK_UPPER_PDU, "SIP"), False: writer.interface(LINK_RAW_IP, "audio")}
    for at_s, is_sip, data in sorted(packets, key=lambda packet: packet[0]):
        writer.packet(interfaces[is_sip], at_s, data)
    return file.getvalue()


def _clear_audio(call: ChosenCall) -> Iterator[tuple[AudioPacket, bytes]]:
    messages = call.captured.messages
    # Each side encrypts with the key that it told the other.
    decrypt = {sent: Decrypter(keys_in(one for one in messages if one.sent is sent)) for sent in (True, False)}
    for packet in call.captured.audio:
        clear = decrypt[packet.sent](packet.data)
        if clear is not None:
            yield packet, clear


def _as_sent_file(calls: Sequence[ChosenCall], unconnected: Sequence[Stream]) -> bytes:
    """Return connections and audio as they were sent, with the TLS secrets."""
    # Several calls may share a connection. Streams of one capture are the same objects.
    streams = list({id(one): one for one in [*(one for call in calls for one in call.streams), *unconnected]}.values())
    packets = [packet for stream in streams for packet in tcp_packets(stream)]
    packets += [
        (packet.at_s, udp_packet(*_ends(packet), packet.data)) for call in calls for packet in call.captured.audio
    ]
    file = BytesIO()
    writer = PcapngWriter(file, "TLS and SRTP of single calls, as they were sent and received")
    writer.secrets(line for stream in streams for line in stream.secrets)
    interface = writer.interface(LINK_RAW_IP, "as sent")
    for at_s, data in sorted(packets, key=lambda packet: packet[0]):
        writer.packet(interface, at_s, data)
    return file.getvalue()


def _key_file(calls: Sequence[ChosenCall]) -> str:
    lines = []
    for call in calls:
        for sent, whose in ((True, "ours"), (False, "theirs")):
            keys = keys_in(message for message in call.captured.messages if message.sent is sent)
            lines += [f"{call.name} {whose} {write_crypto(key)}" for key in keys]
    return "".join(f"{line}\n" for line in lines)


def _ends(one: Message | AudioPacket) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return from where to where it went."""
    return (one.local, one.peer) if one.sent else (one.peer, one.local)
