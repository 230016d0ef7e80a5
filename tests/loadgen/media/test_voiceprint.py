"""Identity in the audio: what one side writes, the other reads, and nothing else is taken for it."""

import zlib

import pytest

from trunkproof.loadgen.media.voiceprint import Frame, Side, Voice, classify, read_frame, write_frame
from trunkproof.models.packets import PAYLOAD_BYTES


@pytest.mark.parametrize("row", [0, 7, 9_999_999_999])
@pytest.mark.parametrize("side", list(Side))
def test_a_frame_says_whose_it_is(row: int, side: Side) -> None:
    payload = write_frame(side, row, 70_000)
    assert len(payload) == PAYLOAD_BYTES
    assert payload == payload[:16] * 10
    assert read_frame(payload) == Frame(side, row, 70_000)


def test_the_counter_wraps_at_32_bits() -> None:
    assert read_frame(write_frame(Side.CALLER, 1, 1 << 32)) == Frame(Side.CALLER, 1, 0)


def test_one_changed_bit_anywhere_in_the_token_is_no_voiceprint() -> None:
    payload = write_frame(Side.CALLED, 42, 3)
    for position in range(16 * 8):
        changed = bytearray(payload)
        changed[position // 8] ^= 1 << position % 8
        assert read_frame(bytes(changed)) is None


@pytest.mark.parametrize("payload", [b"", b"tp", b"\xd5" * 160, b"\xff" * 160, bytes(range(160))])
def test_silence_tones_and_scraps_are_no_voiceprint(payload: bytes) -> None:
    assert read_frame(payload) is None


def test_an_unknown_side_is_no_voiceprint() -> None:
    body = b"tp\x03" + bytes(9)
    assert read_frame((body + zlib.crc32(body).to_bytes(4, "big")) * 10) is None


@pytest.mark.parametrize(
    ("frame", "voice"),
    [
        (Frame(Side.CALLED, 5, 0), Voice.EXPECTED),
        (Frame(Side.CALLER, 5, 0), Voice.OWN_ECHO),
        (Frame(Side.CALLED, 6, 0), Voice.FOREIGN),
        (Frame(Side.CALLER, 6, 0), Voice.FOREIGN),
        (None, Voice.UNKNOWN),
    ],
)
def test_whose_audio_the_caller_of_row_5_hears(frame: Frame | None, voice: Voice) -> None:
    assert classify(frame, listener=Side.CALLER, row=5) is voice


def test_each_side_listens_to_the_other() -> None:
    assert Side.CALLER.other is Side.CALLED
    assert Side.CALLED.other is Side.CALLER
