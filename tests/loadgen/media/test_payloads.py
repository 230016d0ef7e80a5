"""What a stream says again and again: a file to its end and from its beginning, or the four frames of a chord."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.loadgen.media.listeners import cipher_of, terms

from trunkproof.loadgen.media.g711 import PCMA, PCMU, decode
from trunkproof.loadgen.media.payloads import payloads_of
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.speech import Voiceprint


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_a_file_is_played_again_from_its_beginning(law: int, tmp_path: Path) -> None:
    sound = np.random.default_rng(1).integers(-20_000, 20_000, 400).astype(np.int16)
    soundfile.write(tmp_path / "sound.wav", sound, 8000, subtype="PCM_16")
    speaker = MediaStream(
        row=7, side=Side.CALLER, random_source=random.Random(1), now=0.0, sound=tmp_path / "sound.wav"
    )
    # Under another payload type, as a peer may ask for it.
    agreed = terms(
        cipher_of((b"", b""), None), payload_type=110, a_law_types=frozenset({110} if law == PCMA else set())
    )
    speaker.follow(agreed, 0.0)
    said = [RtpPacket.parse(speaker.next_packet() or b"").payload for _ in range(6)]
    heard = decode(np.frombuffer(b"".join(said[:3]), np.uint8), law).astype(float)
    # 80 samples of silence fill the last frame.
    assert np.abs(heard[:400] - sound).max() <= 512
    assert np.abs(heard[400:]).max() <= 8
    assert said[3:] == said[:3]


def test_bytes_are_new_in_each_packet_and_a_chord_has_four_frames() -> None:
    assert payloads_of(Side.CALLER, 7, Voiceprint.BYTES, None, PCMA) is None
    chord = payloads_of(Side.CALLER, 7, Voiceprint.TONES, None, PCMA)
    assert chord is not None
    assert chord.shape == (4, 160)
