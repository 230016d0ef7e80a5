"""docs/reference/python.md: every snippet runs, one after the other, where an event loop runs already."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "python.md"


@pytest.mark.slow
def test_every_snippet_runs_inside_a_running_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed (pip install trunkproof[pandas])")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}

    async def run() -> None:
        for snippet in snippets:
            # As a notebook's cell: with `async with` on its top level.
            code = compile(snippet, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.isawaitable(waiting := eval(code, names)):
                await waiting

    asyncio.run(run())
    assert len(snippets) == 6
    assert names["comparison"].valid
    assert names["result"].records.height > 20
    # Eight seconds are too few to be sure.
    assert any(not attempt.admitted for attempt in names["found"].attempts)
    assert names["tp"].identify(names["prediction"].records).attempts
    for name in ("study", "prediction", "swept", "comparison", "result", "found"):
        assert names[name]._repr_html_().startswith("<table>")
