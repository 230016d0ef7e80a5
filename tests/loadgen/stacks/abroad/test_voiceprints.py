"""What a network does to audio: an Asterisk transcodes a call to mu-law at another level, and repeats keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from tests.loadgen.stacks.abroad.conftest import ANSWERS, ECHO, MENU, TRANSCODED
from tests.loadgen.stacks.abroad.test_listed_numbers import load, study

from trunkproof.loadgen.media.g711 import PCMU, encode
from trunkproof.loadgen.media.tones import ToneReader
from trunkproof.loadgen.media.voiceprint import Side, Voice
from trunkproof.loadgen.stacks.asterisk.find import Installation

pytestmark = pytest.mark.alone


def test_an_echo_behind_a_transcoder_is_known_by_its_tones_and_not_by_its_bytes(
    asterisk: Installation, tmp_path: Path
) -> None:
    far_ends: list[dict[str, Any]] = [
        {"number": TRANSCODED, "far_end": "echo"},
        {"number": ECHO, "far_end": "echo"},
    ]
    result, _ = load(study(far_ends, calls=8), asterisk, tmp_path)
    records = result.records
    assert set(records["disposition"]) == {"completed"}, records["reason"].to_list()
    there, beside = (records.filter(pl.col("destination") == place) for place in (0, 1))
    assert there.height > 0
    assert there["rtp_foreign"].sum() == 0
    # Through two legs more, each of which waits for at most a packet.
    assert there["round_trip_ms"].is_between(0, 200, closed="none").all()
    assert beside["round_trip_ms"].is_between(0, 200, closed="none").all()


def test_bytes_do_not_survive_a_transcoder(asterisk: Installation, tmp_path: Path) -> None:
    far_ends: list[dict[str, Any]] = [{"number": TRANSCODED, "far_end": "echo", "voiceprint": "bytes"}]
    result, _ = load(study(far_ends, calls=2), asterisk, tmp_path)
    assert set(result.records["disposition"]) == {"media_failed"}
    assert all("voiceprint is bytes" in reason for reason in result.records["reason"])


def test_rfc4733_keys_of_the_plan_reach_a_menu_and_come_back(asterisk: Installation, tmp_path: Path) -> None:
    far_ends: list[dict[str, Any]] = [{"number": MENU, "far_end": "answers", "digits": "1w2#9", "holding": 4.0}]
    result, _ = load(study(far_ends, calls=2), asterisk, tmp_path)
    records = result.records
    assert set(records["disposition"]) == {"completed"}, records["reason"].to_list()
    heard = [line for line in (tmp_path / "dialled.log").read_text().splitlines() if "keys " in line]
    # `Read` ends at #, which it does not return, and then Asterisk presses what it has read.
    assert [line.rpartition("keys ")[2] for line in heard] == ["12", "12"]
    assert set(records.select("digits_sent", "digits_received").iter_rows()) == {("12#9", "12")}


def test_a_sound_file_comes_back_from_an_echo_that_is_asked_nothing(asterisk: Installation, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "prompt.wav", 0.3 * np.sin(np.arange(9000) / 3), 8000)
    far_ends: list[dict[str, Any]] = [
        {"number": ECHO, "far_end": "plays", "audio": {"file": str(tmp_path / "prompt.wav")}},
        {"number": ANSWERS, "far_end": "answers"},
    ]
    result, _ = load(study(far_ends, calls=2), asterisk, tmp_path)
    assert set(result.records["disposition"]) == {"completed"}, result.records["reason"].to_list()
    assert result.records["rtp_foreign"].sum() == 0


def test_recorded_speech_is_no_voiceprint(asterisk: Installation) -> None:
    """Asterisk's own announcements, an English speaker, some two and a half minutes."""
    files = sorted((asterisk.data / "sounds").rglob("*.gsm"))[::10]
    if not files:
        pytest.skip("this Asterisk has no announcements")
    speech = [
        soundfile.read(file, format="RAW", subtype="GSM610", samplerate=8000, channels=1, dtype="int16")[0]
        for file in files
    ]
    octets = encode(np.concatenate(speech), PCMU)
    told = ToneReader(Side.CALLER, 7).read(octets.tobytes(), PCMU, 0)
    assert {one.voice for one in told} == {Voice.UNKNOWN}
    assert sum(one.frames for one in told) > 50 * 60
