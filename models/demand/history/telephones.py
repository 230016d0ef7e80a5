"""Tell calls between a PBX's own telephones from calls over its trunk, by the channels in Asterisk's records.

A channel is written `technology/endpoint-serial`. The endpoint is a telephone if it is an extension: a number of at
most six digits, or the number that called or was called.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

_ENDPOINT = r"^[A-Za-z]\w*/(.+?)(?:@[^/]*)?(?:-[0-9A-Za-z]+(?:;[12])?)?$"
_EXTENSION = r"^[*#]?\d{1,6}$"
_DIALLED = r"^[A-Za-z]\w*/(\d{1,6})(?:[,&|]|$)"
"""The argument of Dial if it names a telephone, not a number behind a trunk."""


def is_internal(columns: Mapping[str, str]) -> pl.Expr:
    """Return the expression for whether both ends are telephones of the PBX. It is false if the channels do not say it.

    `columns`: role -> column, with `caller`, `callee`, `channel`, `dstchannel` and maybe `lastdata`.
    """
    text = {role: pl.col(name).cast(pl.String).str.strip_chars() for role, name in columns.items() if role in _ROLES}
    here, there = (text[role].str.extract(_ENDPOINT) for role in ("channel", "dstchannel"))
    if "lastdata" in text:
        # A call that no telephone took has no second channel; what was dialled says whose it was.
        none = text["dstchannel"].fill_null("").str.len_bytes() == 0
        there = pl.when(none).then(text["lastdata"].str.extract(_DIALLED)).otherwise(there)
    short = text["caller"].str.contains(_EXTENSION) & text["callee"].str.contains(_EXTENSION)
    extensions = short & here.str.contains(_EXTENSION) & there.str.contains(_EXTENSION)
    named = (here == text["caller"]) & (there == text["callee"])
    return (extensions | named).fill_null(value=False)


_ROLES = frozenset({"caller", "callee", "channel", "dstchannel", "lastdata"})
