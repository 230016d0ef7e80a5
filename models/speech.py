"""What is said in a call: a voiceprint or a sound file, and the keys that are pressed."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from trunkproof.models.packets import CLOCK_HZ
from trunkproof.models.settings import Settings

PAUSE = "w"
"""A pause between keys, as in the dial strings of modems and PBXs."""
PAUSE_S = 0.5
KEY_S = 0.16
"""What a key takes: 100 ms, and its end three times."""
_AROUND_S = 0.2
"""From the answer to the first key, and from the last one to the BYE, in all: a packet or two, and some lateness."""
_MOST_KEYS = 64
_LONGEST_S = 600.0
_RATES_HZ = (8000, 48_000)


class Voiceprint(StrEnum):
    """How audio says which call it belongs to."""

    BYTES = "bytes"
    """Octets that must arrive unchanged. Each packet is known by itself, with its number."""
    TONES = "tones"
    """Tones that survive transcoding, other levels, other packet times and clocks a little off."""


def _in_quotes(keys: Any) -> Any:
    # YAML reads 12 without quotes as a number, and a 0 before it is gone.
    if isinstance(keys, int):
        raise ValueError('was read as a number: write it in quotes, such as "1w2#"')  # noqa: TRY004
    return keys


def _dialled(keys: str) -> str:
    keys = re.sub("[a-d]", lambda key: key[0].upper(), keys.replace(" ", "").replace("W", PAUSE))
    if not re.fullmatch(f"[0-9*#A-D{PAUSE}]*", keys):
        raise ValueError(f"may have the keys 0-9, *, # and A-D, and {PAUSE} for a pause of {1000 * PAUSE_S:.0f} ms")
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"has {len(keys)} keys and pauses; at most {_MOST_KEYS} can be sent in a call")
    return keys


Digits = Annotated[str, BeforeValidator(_in_quotes), AfterValidator(_dialled)]


def _found(file: Path, info: ValidationInfo) -> Path:
    # Absolute from here on: workers and a result folder read the study again from elsewhere.
    path = (Path((info.context or {}).get("folder", Path())) / file).resolve()
    read_sound(path)
    return path


class Sound(Settings):
    """A sound file that is played in place of a voiceprint, again and again."""

    file: Annotated[Path, AfterValidator(_found)]
    """WAV or another format of libsndfile, mono, relative to the study."""


class Speech(Settings):
    """What is said in calls."""

    voiceprint: Voiceprint | None = None
    """How audio says which call it belongs to. None: `bytes` where the far end is `plan`, else `tones`."""
    audio: Sound | None = None
    """What the caller says in place of a voiceprint."""
    digits: Digits | None = None
    """The keys that the caller presses once the call is answered. It is up for as long as they take at least."""

    @property
    def digits_s(self) -> float:
        """Return how long a call is up at least, so that all keys can be sent."""
        if not self.digits:
            return 0.0
        pauses = self.digits.count(PAUSE)
        return PAUSE_S * pauses + KEY_S * (len(self.digits) - pauses) + _AROUND_S

    def over(self, other: Speech, otherwise: Voiceprint) -> Speech:
        """Return what is said where these values are given, and else those of the other, and else the voiceprint."""
        return Speech.model_construct(
            voiceprint=self.voiceprint or other.voiceprint or otherwise,
            audio=self.audio or other.audio,
            digits=other.digits if self.digits is None else self.digits,
        )


@lru_cache(maxsize=32)
def read_sound(path: Path) -> NDArray[np.int16]:
    """Return a sound file's samples at 8 kHz, 16 bits. Other rates are resampled.

    Raises:
        ValueError: it cannot be read, or it is no sound that a call can carry.
    """
    # Import lazily: only studies with sound files need them.
    import soundfile  # noqa: PLC0415
    from scipy.signal import resample_poly  # noqa: PLC0415

    try:
        with path.open("rb") as opened, soundfile.SoundFile(opened) as sound:
            problem = _problem(sound.channels, sound.samplerate, sound.frames)
            samples: NDArray[np.int16] | None = None if problem else sound.read(dtype="int16")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    except soundfile.SoundFileError:
        raise ValueError(f"{path} is no sound file that can be read: give a WAV file (8 kHz, mono)") from None
    if samples is None:
        raise ValueError(f"{path} {problem}")
    if sound.samplerate == CLOCK_HZ:
        return samples
    common = gcd(CLOCK_HZ, sound.samplerate)
    resampled = resample_poly(samples.astype(np.float64), CLOCK_HZ // common, sound.samplerate // common)
    return np.clip(np.round(resampled), -32_768, 32_767).astype(np.int16)


def _problem(channels: int, rate_hz: int, frames: int) -> str | None:
    if channels != 1:
        return f"has {channels} channels: a call carries one, so mix it down to mono"
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        return f"has {rate_hz} samples a second: give one of 8,000 (or up to 48,000, which is resampled)"
    if frames == 0:
        return "holds no sound"
    if frames / rate_hz > _LONGEST_S:
        return f"lasts {frames / rate_hz:.0f} s: at most {_LONGEST_S:.0f} s are played"
    return None
