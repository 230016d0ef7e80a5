"""Histories from text: what the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.errors import InputError

Read = Callable[..., History]
Problems = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(text: str | bytes, name: str = "calls.csv", **settings: Any) -> History:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_history(HistorySettings(**({"path": Path(name)} | settings)), tmp_path)

    return of


@pytest.fixture
def problems(read: Read) -> Problems:
    def of(text: str | bytes, name: str = "calls.csv", **settings: Any) -> list[str]:
        with pytest.raises(InputError) as caught:
            read(text, name, **settings)
        return [str(problem) for problem in caught.value.problems]

    return of
