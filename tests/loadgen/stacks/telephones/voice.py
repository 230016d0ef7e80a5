"""Voiceprints in WAV files: what a telephone says, and what it has recorded.

G.711 decodes and encodes without loss, so the recording of a telephone that plays what it hears says, frame by frame,
whose audio that was.
"""

from __future__ import annotations

import contextlib
import time
import wave
from collections import Counter
from pathlib import Path

from trunkproof.loadgen.media.voiceprint import Side, read_frame, write_frame
from trunkproof.models.packets import PAYLOAD_BYTES


def _pcm(code: int) -> int:
    """Return the linear sample of an A-law octet (ITU-T G.711)."""
    flipped = code ^ 0x55
    segment, step = (flipped & 0x70) >> 4, (flipped & 0x0F) << 4
    size = step + 8 if segment == 0 else (step + 0x108) << (segment - 1)
    return size if flipped & 0x80 else -size


_PCM = {code: _pcm(code).to_bytes(2, "little", signed=True) for code in range(256)}
_ALAW = {pcm: code for code, pcm in _PCM.items()}
_MAGIC = b"tp"
WRITTEN_WITHIN_S = 3.0
"""A recording is complete a moment after its call."""


def write_wav(path: Path, alaw: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(_PCM[code] for code in alaw))


def speech(side: Side, row: int, seconds: int = 10) -> bytes:
    """Return what that side of a row says."""
    return b"".join(write_frame(side, row, number) for number in range(50 * seconds))


def _samples(recording: Path) -> bytes:
    """Return all samples of a recording. The telephone may still be writing it down."""
    until = time.monotonic() + WRITTEN_WITHIN_S
    while True:
        with contextlib.suppress(wave.Error, EOFError), wave.open(str(recording)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            if file.getnframes():
                samples: bytes = file.readframes(file.getnframes())
                return samples
        assert time.monotonic() < until, f"{recording} is empty"
        time.sleep(0.02)


def frames_in(recording: Path) -> Counter[tuple[Side, int] | None]:
    """Return (who spoke, the plan's row) -> frames of 20 ms. What is no frame of ours is `None`."""
    samples = _samples(recording)
    alaw = bytes(_ALAW.get(samples[at : at + 2], 0xD5) for at in range(0, len(samples) - 1, 2))
    heard: Counter[tuple[Side, int] | None] = Counter()
    at = 0
    while at + 16 <= len(alaw):
        frame = read_frame(alaw[at : at + PAYLOAD_BYTES])
        heard[frame and (frame.side, frame.row)] += 1
        # A telephone may drop or add some samples: the next frame begins wherever its mark is.
        following = alaw.find(_MAGIC, at) if frame is None else at + PAYLOAD_BYTES
        at = following if following > at else at + PAYLOAD_BYTES
    return heard
