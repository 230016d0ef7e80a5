"""The one import name: what it offers, that it is quick, and that nothing of ours goes by a generic name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trunkproof

SOURCE = Path(trunkproof.__file__)


def _said(code: str, folder: Path) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", trunkproof.__all__)
def test_every_name_is_there(name: str) -> None:
    assert name in dir(trunkproof)
    value = getattr(trunkproof, name)
    assert value.__name__ == name


def test_type_checkers_see_the_same_names() -> None:
    guarded = next(node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(seen) == sorted(trunkproof.__all__)
    assert seen == {name: f"trunkproof.{module}" for name, module in trunkproof._MODULE_OF.items()}


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        trunkproof.simulat  # noqa: B018


def test_importing_it_imports_nothing_else(tmp_path: Path) -> None:
    code = "import sys, trunkproof; print(*sorted(name for name in sys.modules if name.startswith('trunkproof')))"
    assert _said(code, tmp_path) == "trunkproof"
    heavy = "print(*({'numpy', 'polars', 'pydantic', 'scipy', 'numba', 'simpy', 'plotly'} & set(sys.modules)))"
    assert _said(f"import sys, trunkproof; {heavy}", tmp_path) == ""
    assert _said(f"import sys; import trunkproof.experiments.cli.root; {heavy}", tmp_path) == ""


def test_modules_of_the_user_with_our_folders_names_are_not_met(tmp_path: Path) -> None:
    for name in ("models", "experiments", "simulator", "loadgen"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is the user\\'s own')")
    study = "name: x\\nduration_s: 60\\ntraffic: {arrivals: {kind: poisson, rate_per_minute: 60}, holding: 1}"
    code = f"import trunkproof as tp; print(tp.simulate(tp.parse_study('{study}')).height > 20)"
    assert _said(code, tmp_path) == "True"
