"""Tables for those who work with pandas. Everything here is Polars; pandas is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from trunkproof.models.errors import InputError, Problem

if TYPE_CHECKING:
    import pandas as pd


class HasFrame(Protocol):
    """Whatever has a table, such as `Kpis`, `Sweep` or `Contrast`."""

    def to_frame(self) -> pl.DataFrame:
        """Return the table."""
        ...


def to_pandas(table: pl.DataFrame | HasFrame) -> pd.DataFrame:
    """Return a record table, or the table of `Kpis`, `Sweep` or `Contrast`, as a pandas frame.

    Words stay words, and what is missing is None or NaN.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415  # An extra.
    except ModuleNotFoundError as error:
        what = "is not installed; `pip install trunkproof[pandas]` adds it"
        raise InputError("to_pandas", [Problem(where="pandas", what=what)]) from error
    frame = table if isinstance(table, pl.DataFrame) else table.to_frame()
    # Not Polars' own conversion, which needs PyArrow too.
    columns: dict[str, Any] = {column.name: _values(column) for column in frame}
    return pd.DataFrame(columns)


def _values(column: pl.Series) -> Any:
    return column.to_numpy() if column.dtype.is_numeric() or column.dtype == pl.Boolean else column.to_list()
