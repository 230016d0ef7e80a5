"""What a study says is said in calls: who says what where nothing is written, and sound files that can be played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from trunkproof.models.errors import InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.speech import Voiceprint, read_sound
from trunkproof.models.study_file import parse_study, read_study

STUDY = """
name: said
duration_s: 2
traffic:
  arrivals: {kind: constant, rate_per_minute: 300}
  holding: 0.3
"""


def test_tones_are_for_far_ends_that_are_not_ours() -> None:
    text = f"""{STUDY}  digits: "1 w 2a"
  destinations:
    - {{number: "+918040001234", far_end: echo}}
    - {{number: "+918040001235", far_end: echo, voiceprint: bytes, digits: ""}}
    - {{far_end: plan}}
"""
    traffic = parse_study(text).trunks[0].traffic
    echo, exact, ours = (traffic.speech(entry) for entry in traffic.destinations)
    assert [one.voiceprint for one in (echo, exact, ours, traffic.speech(None))] == [
        Voiceprint.TONES,
        *[Voiceprint.BYTES] * 3,
    ]
    assert [one.digits for one in (echo, exact, ours)] == ["1w2A", "", "1w2A"]


def test_whoever_calls_a_listed_number_of_ours_may_be_behind_a_transcoder() -> None:
    text = f"""{STUDY}  inbound: [{{number: "+918040001234", far_end: echo}}]\n"""
    study = parse_study(text)
    assert study.trunks[0].traffic.speech(study.trunks[0].traffic.inbound[0]).voiceprint is Voiceprint.TONES


def test_keys_hold_a_call_for_as_long_as_they_take() -> None:
    before = draw_plan(parse_study(STUDY.replace("0.3", "{kind: exponential, mean_s: 1}"))).table
    after = draw_plan(parse_study(STUDY.replace("0.3", "{kind: exponential, mean_s: 1}") + '  digits: "1w2"\n')).table
    assert before.drop("hold_s").equals(after.drop("hold_s"))
    assert after["hold_s"].to_list() == [pytest.approx(max(hold, 0.5 + 2 * 0.16 + 0.2)) for hold in before["hold_s"]]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("digits: 12", "digits: was read as a number: write it in quotes"),
        ('digits: "1x"', "digits: may have the keys"),
        (f'digits: "{"1" * 65}"', "digits: has 65 keys and pauses"),
        ("voiceprint: tone", "voiceprint: must be `bytes` or `tones`, not `tone`"),
        ("audio: {file: none.wav}", "none.wav cannot be read (No such file or directory)"),
        ("audio: {file: study.yaml}", "study.yaml is no sound file"),
        ("audio: {file: stereo.wav}", "has 2 channels"),
        ("audio: {file: empty.wav}", "holds no sound"),
        ("audio: {file: slow.wav}", "has 4000 samples a second"),
        ('destinations: [{number: "+918040001234", far_end: echo, audio: {file: good.wav}}]', "leave audio out"),
        ('inbound: [{number: "+918040001234", far_end: plays, audio: {file: good.wav}}]', "what a caller says"),
        ('inbound: [{number: "+918040001234", far_end: echo, digits: "1"}]', "what a caller says"),
    ],
)
def test_what_cannot_be_said_is_told_with_its_key(written: str, told: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "stereo.wav", np.zeros((800, 2)), 8000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(800), 4000)
    soundfile.write(tmp_path / "good.wav", np.zeros(800), 8000)
    (tmp_path / "study.yaml").write_text(f"{STUDY}  {written}\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_study(tmp_path / "study.yaml")
    assert told in str(raised.value)
    assert "line 7" in str(raised.value)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100])
@pytest.mark.parametrize("kind", ["PCM_16", "ALAW", "ULAW"])
def test_a_file_of_any_usual_kind_is_played_at_8_khz(rate_hz: int, kind: str, tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 700 * np.arange(rate_hz) / rate_hz)
    soundfile.write(tmp_path / "tone.wav", tone, rate_hz, subtype=kind)
    samples = read_sound(tmp_path / "tone.wav")
    assert len(samples) == 8000
    spectrum = np.abs(np.fft.rfft(samples))
    assert int(np.argmax(spectrum)) == 700
    assert spectrum[700] / 4000 == pytest.approx(0.5 * 32_768, rel=0.02)


def test_a_file_is_found_beside_its_study_and_from_elsewhere_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "prompt.wav", np.zeros(800), 8000)
    (tmp_path / "study.yaml").write_text(f"{STUDY}  audio: {{file: prompt.wav}}\n", encoding="utf-8")
    study = read_study(tmp_path / "study.yaml")
    monkeypatch.chdir("/")
    assert parse_study(study.model_dump_json()) == study
