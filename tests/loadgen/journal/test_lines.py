"""A journal is read as it was written, and a torn or damaged one as far as it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.journal.lines import Entry, EntryKind, JournalReader, decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BATCHES = st.lists(st.lists(st.builds(Entry, st.sampled_from(EntryKind), VALUES), max_size=4), max_size=5)


@given(BATCHES)
def test_a_batch_is_one_line_and_is_read_back(batches: list[list[Entry]]) -> None:
    for batch in batches:
        line = encode(batch)
        assert line.count(b"\n") == 1
        assert decode(line[:-1]) == batch


@given(BATCHES, st.data())
def test_of_a_torn_file_all_whole_batches_are_read(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]], data: st.DataObject
) -> None:
    lines = [encode(batch) for batch in batches]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    path.write_bytes(whole[:cut])
    reader = JournalReader(path)
    found = list(reader.read_new())
    kept = whole[:cut].count(b"\n")
    assert found == [entry for batch in batches[:kept] for entry in batch]
    assert (reader.damaged, reader.torn_bytes) == (0, cut - len(b"".join(lines[:kept])))


def test_a_damaged_batch_is_left_out_and_counted(tmp_path: Path) -> None:
    first, second, third = (encode([Entry(EntryKind.METERS, number)]) for number in range(3))
    # One flipped bit, an end of zeros as after a loss of power, and a line of another program.
    (tmp_path / "a").write_bytes(first + second.replace(b"meters", b"mfters") + third + b"\0" * 40 + b"\nhello\n")
    reader = JournalReader(tmp_path / "a")
    assert [entry.value for entry in reader.read_new()] == [0, 2]
    assert reader.damaged == 3


def test_a_growing_file_is_read_on(tmp_path: Path) -> None:
    path, reader = tmp_path / "a", JournalReader(tmp_path / "a")
    assert list(reader.read_new()) == []
    line = encode([Entry(EntryKind.ENDED, {"row": 1})])
    with path.open("ab", buffering=0) as file:
        file.write(line + line[:20])
        assert len(list(reader.read_new())) == 1
        assert list(reader.read_new()) == []
        file.write(line[20:])
        assert len(list(reader.read_new())) == 1
    assert reader.torn_bytes == 0


def test_an_entry_of_a_newer_version_is_left_out() -> None:
    line = encode([Entry(EntryKind.BEGAN, 1)]).replace(b"began", b"later")
    text = line[9:-1]
    import zlib

    assert decode(b"%08x %s" % (zlib.crc32(text), text)) == []
