"""A trunk's card on disk: read back as it was written; whatever else lies there is told as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.models.errors import InputError

CARD = TrunkCard(stack="embedded", server_name="trunk.test", host="127.0.0.1", port=5061, ca_file="ca.pem")


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    CARD.write(tmp_path / "trunk.json")
    assert read_card(tmp_path / "trunk.json") == CARD


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"name: a study\n", "is not JSON"),
        (b"[]", "must have keys of its own"),
        (b"{}", "host: is missing"),
        (b'{"stack": "embedded", "host": "127.0.0.1", "port": "many"}', "port: "),
    ],
)
def test_what_is_no_card_is_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "trunk.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_card(path)


def test_a_card_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match="cannot be read"):
            read_card(path)


def test_its_place_is_written_for_people_with_brackets_around_ipv6() -> None:
    assert CARD.place == "127.0.0.1:5061"
    assert CARD.model_copy(update={"host": "::1"}).place == "[::1]:5061"


def test_only_its_owner_can_read_it_and_its_secret_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "trunk.json"
    path.write_text("an older one, which everybody can read", encoding="utf-8")
    card = CARD.model_copy(update={"control_secret": "hush"})
    card.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_card(path).control_secret == "hush"
    assert "hush" not in repr(card)
