"""Tones are known after what networks do to audio, and nothing else is taken for them.

The distortions are computed here: transcoding by the tables of G.711, gain, another clock by interpolation with limited
bandwidth, loss, another packet time, a frequency response of a channel, noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import firwin2

from trunkproof.loadgen.media.g711 import PCMA, PCMU, decode, encode
from trunkproof.loadgen.media.tones import (
    CYCLE,
    HOP_ORDER,
    NUMBERS,
    RUN,
    Told,
    ToneReader,
    frames,
    number_of,
    powers_of,
    read_chord,
    render,
)
from trunkproof.loadgen.media.voiceprint import Side, Voice
from trunkproof.models.draws import ROWS_PER_TRUNK

Samples = NDArray[np.float64]
ROW = 4711
SECONDS = 20


def spoken(side: Side = Side.CALLED, row: int = ROW, law: int = PCMA, seconds: float = SECONDS) -> Samples:
    """What a stream says, as a network receives it."""
    order = np.resize(HOP_ORDER, round(50 * seconds))
    return decode(frames(side, row, law)[order].ravel(), law).astype(np.float64)


def with_clock(samples: Samples, ppm: float) -> Samples:
    """The same sound, sampled by a clock that is off: interpolated by a windowed sinc of 64 samples."""
    at = np.arange(64, len(samples) - 64) * (1 + ppm * 1e-6)
    at = at[at < len(samples) - 64]
    whole = np.floor(at).astype(int)
    out = np.zeros(len(at))
    for tap in range(-31, 33):
        x = at - (whole + tap)
        out += samples[whole + tap] * np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x / 33))
    return out


def as_telephone(samples: Samples) -> Samples:
    """A telephone channel that is 10 dB down at 300 Hz and 6 dB at 3,400 Hz, with 3 dB of tilt in between."""
    gain_db = [-60, -10, -1, 0, -1.5, -3, -6, -60]
    taps = firwin2(129, [0, 300, 500, 1000, 2000, 3000, 3400, 4000], 10 ** (np.array(gain_db) / 20), fs=8000)
    return np.convolve(samples, taps, mode="same")


@dataclass
class Heard:
    voices: dict[Voice, int]
    told: list[Told]

    @property
    def judged(self) -> int:
        return sum(self.voices.values())

    def share(self, voice: Voice) -> float:
        return self.voices[voice] / self.judged


def listen(
    samples: Samples,
    *,
    law: int = PCMU,
    packet_ms: int = 20,
    loss: float = 0.0,
    listener: Side = Side.CALLER,
    row: int = ROW,
    seed: int = 1,
) -> Heard:
    """Encode, cut into packets, lose some, and read the others."""
    octets, size, random = encode(samples, law), 8 * packet_ms, np.random.default_rng(seed)
    reader, voices, told = ToneReader(listener, row), dict.fromkeys(Voice, 0), []
    for at in range(0, len(octets) - size + 1, size):
        if random.random() < loss:
            continue
        for one in reader.read(octets[at : at + size].tobytes(), law, at + 2**32 - 1000 & 0xFFFFFFFF):
            voices[one.voice] += one.frames
            told.append(one)
    return Heard(voices, told)


NETWORKS = [
    {"gain_db": gain, "ppm": ppm, "loss": loss, "packet_ms": packet_ms, "noise_db": None}
    for gain, ppm, loss, packet_ms in [
        (0, 0, 0, 20),
        (-20, 0, 0, 20),
        (6, 0, 0, 20),
        (0, 200, 0, 20),
        (0, -200, 0, 20),
        (0, 0, 0.05, 20),
        (-20, 200, 0.05, 10),
        (6, -200, 0.05, 20),
        (-10, 100, 0.05, 30),
        (-20, -200, 0.05, 60),
    ]
] + [{"gain_db": 0, "ppm": 50, "loss": 0.01, "packet_ms": 20, "noise_db": -15}]


@pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda one: " ".join(f"{name}={value}" for name, value in one.items())
)
@pytest.mark.parametrize("laws", [(PCMA, PCMU, PCMA), (PCMU, PCMA, PCMU)], ids=["A-u-A", "u-A-u"])
def test_a_call_is_known_behind_any_network(network: dict[str, float], laws: tuple[int, int, int]) -> None:
    first, between, last = laws
    samples = spoken(law=first)
    # Cut off anywhere, so that blocks never begin with our frames.
    samples = with_clock(as_telephone(decode(encode(samples, between), between).astype(np.float64)), network["ppm"])[
        77:
    ]
    if network["noise_db"] is not None:
        level = np.sqrt(np.mean(samples**2)) * 10 ** (network["noise_db"] / 20)
        samples = samples + np.random.default_rng(2).normal(0, level, len(samples))
    samples = samples * 10 ** (network["gain_db"] / 20)
    heard = listen(samples, law=last, packet_ms=int(network["packet_ms"]), loss=network["loss"])
    assert heard.voices[Voice.FOREIGN] == heard.voices[Voice.OWN_ECHO] == 0
    # Packets of 30 ms that are lost take blocks with them that are half in others.
    assert heard.judged > (0.99 if network["loss"] == 0 else 0.8) * 50 * (SECONDS - 0.1)
    assert heard.share(Voice.EXPECTED) > 0.98


def test_ten_thousand_calls_of_both_sides_are_told_apart() -> None:
    random = np.random.default_rng(5)
    seen = set()
    for number in range(NUMBERS):
        side = Side(1 + number % 2)
        # Through the other law at a low level; any call's frame, at any place.
        octets = frames(side, number, PCMA)[number % 4]
        block = decode(encode(decode(octets, PCMA) * 0.1, PCMU), PCMU)
        chord = read_chord(np.roll(block, int(random.integers(160))))
        assert chord is not None
        assert (chord.number, chord.side, chord.hop) == (number, side, number % 4)
        seen.add(chord[:2])
    assert len(seen) == NUMBERS


def test_trunks_begin_with_different_numbers() -> None:
    assert len({number_of(trunk * ROWS_PER_TRUNK + row) for trunk in range(5) for row in range(100)}) == 500


@pytest.mark.parametrize(("side", "row", "voice"), [
    (Side.CALLED, ROW, Voice.EXPECTED),
    (Side.CALLER, ROW, Voice.OWN_ECHO),
    (Side.CALLED, ROW + 1, Voice.FOREIGN),
    (Side.CALLER, ROW + NUMBERS // 2, Voice.FOREIGN),
])  # fmt: skip
def test_whose_audio_the_caller_hears(side: Side, row: int, voice: Voice) -> None:
    heard = listen(spoken(side, row, seconds=2) * 0.3)
    assert heard.share(voice) == 1


def test_an_echo_says_which_frame_it_is() -> None:
    heard = listen(spoken(Side.CALLER) * 0.5, packet_ms=60)
    named = [(place, told) for place, told in enumerate(heard.told) if told.frame is not None]
    assert len(named) > 0.98 * heard.judged
    # The first telling stands for five frames.
    assert all(told.frame == (place + RUN - 1) % CYCLE for place, told in named)
    assert {told.offset_s for _, told in named} == {0.0, 0.02, 0.04}


def speech_like(random: np.random.Generator, seconds: int) -> Samples:
    """Voiced sounds with a moving pitch and formants, hisses and pauses."""
    at, out = np.arange(8000 * seconds) / 8000, np.zeros(8000 * seconds)
    pitch = 110 + 50 * np.interp(
        at, np.arange(0, seconds + 1, 0.15), random.random(len(np.arange(0, seconds + 1, 0.15)))
    )
    phase = 2 * np.pi * np.cumsum(pitch) / 8000
    formant = 500 + 1500 * np.interp(
        at, np.arange(0, seconds + 1, 0.2), random.random(len(np.arange(0, seconds + 1, 0.2)))
    )
    for harmonic in range(1, 25):
        out += np.cos(harmonic * phase) / (1 + ((harmonic * pitch - formant) / 300) ** 2)
    return 6000 * out * np.repeat(random.random(4 * seconds) > 0.3, 2000) + random.normal(0, 20, len(out))


def music_like(random: np.random.Generator, seconds: int) -> Samples:
    """Chords of an organ in equal temperament, a new one every quarter of a second."""
    out = []
    for _ in range(4 * seconds):
        notes = 220 * 2 ** (random.choice(49, size=6, replace=False) / 12)
        at = np.arange(2000) / 8000
        out.append(sum(np.sin(2 * np.pi * note * at + random.random() * 7) for note in notes))
    return 2500 * np.concatenate(out)


def grid_like(random: np.random.Generator, seconds: int) -> Samples:
    """The worst that chance can do: six tones of our own frequencies, drawn anew every fifth of a second."""
    at, out = 2 * np.pi * np.arange(1600) / 160, []
    for _ in range(5 * seconds):
        out.append(
            sum(np.cos(one * at + random.random() * 7) for one in random.choice(np.arange(7, 68), 6, replace=False))
        )
    return 2500 * np.concatenate(out)


def noise_like(random: np.random.Generator, seconds: int) -> Samples:
    return random.normal(0, 3000, 8000 * seconds)


@pytest.mark.parametrize("sound", [speech_like, music_like, grid_like, noise_like])
def test_other_sounds_are_no_voiceprint(sound: object) -> None:
    assert callable(sound)
    heard = listen(sound(np.random.default_rng(11), 60))
    assert heard.voices == {**dict.fromkeys(Voice, 0), Voice.UNKNOWN: heard.judged}
    assert heard.judged > 2900


def test_a_chord_that_stands_still_is_no_voiceprint() -> None:
    still = np.tile(render(Side.CALLED, ROW)[2], 100)
    assert listen(still).voices[Voice.UNKNOWN] >= 95
    assert listen(still).voices[Voice.EXPECTED] == 0


def test_silence_is_no_voiceprint() -> None:
    assert listen(np.zeros(8000)).share(Voice.UNKNOWN) == 1


def test_powers_are_those_of_a_fourier_transform() -> None:
    block = np.round(np.random.default_rng(3).normal(0, 5000, 160)).astype(np.int16)
    powers, energy = powers_of(block)
    spectrum = np.abs(np.fft.rfft(block)) ** 2
    # Waves are rounded to 1/4096.
    assert powers[0] / 4096**2 == pytest.approx(spectrum[7], rel=0.01)
    assert powers[-1] / 4096**2 == pytest.approx(spectrum[67], rel=0.01)
    assert energy == np.sum(block.astype(np.float64) ** 2)


def test_any_four_hops_in_a_row_occur_once() -> None:
    around = np.concatenate([HOP_ORDER, HOP_ORDER[:3]])
    assert len({tuple(around[place : place + 4]) for place in range(CYCLE)}) == CYCLE
