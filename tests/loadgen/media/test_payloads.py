"""What a stream says again and again: a file from its beginning, the four frames of a chord, or a steady sound."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.loadgen.media.listeners import cipher_of, terms

from trunkproof.loadgen.media.g711 import PCMA, PCMU, decode, encode
from trunkproof.loadgen.media.payloads import Steady, payloads_of
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.speech import Voiceprint


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_a_file_is_played_again_from_its_beginning(law: int, tmp_path: Path) -> None:
    sound = np.random.default_rng(1).integers(-20_000, 20_000, 400).astype(np.int16)
    soundfile.write(tmp_path / "sound.wav", sound, 8000, subtype="PCM_16")
    speaker = MediaStream(
        row=7, side=Side.CALLER, random_source=random.Random(1), now=0.0, instead=tmp_path / "sound.wav"
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


@pytest.mark.parametrize(
    ("sample", "in_a_law", "in_mu_law"),
    # The least value and the ends of the scales, as ITU-T G.711 gives them.
    [(8, 0xD5, 0xFE), (32_767, 0xAA, 0x80), (-32_768, 0x2A, 0x00), (1000, 0xFA, 0xCE), (-1000, 0x7A, 0x4E)],
)
def test_itu_t_g711_codes(sample: int, in_a_law: int, in_mu_law: int) -> None:
    assert [int(encode(np.array([sample]), law)[0]) for law in (PCMA, PCMU)] == [in_a_law, in_mu_law]


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_a_steady_sound_can_follow_itself(law: int) -> None:
    tone = payloads_of(Side.CALLED, 7, Voiceprint.TONES, Steady.TONE, law)
    silence = payloads_of(Side.CALLED, 7, Voiceprint.TONES, Steady.SILENCE, law)
    assert tone is not None
    assert silence is not None
    assert tone.shape == silence.shape == (1, 160)
    # Eight whole periods of 20 samples.
    frame = bytes(tone[0])
    assert frame == frame[:20] * 8
    assert len(set(frame[:20])) > 5
    assert set(bytes(silence[0])) == {0xD5 if law == PCMA else 0xFF}
