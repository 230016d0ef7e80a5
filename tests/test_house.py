"""The house's own rules: which way imports point, what every module has, what no file says.

Each rule is a function from a tree to its offenders, shown to find a planted one, then asked of this repository.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "models": {"models"},
    "simulator": {"simulator", "models"},
    "loadgen": {"loadgen", "models"},
    "experiments": {"experiments", "simulator", "loadgen", "models"},
}
"""The one direction of imports among the packages."""

MIRRORED = ("models", "simulator", "loadgen")
"""The packages whose every module has a test file of its name, or one that imports it."""

EXERCISED = {
    "simulator/edge.py": "tests/simulator/test_trunk.py",
    "simulator/incidents.py": "tests/simulator/test_trunk.py",
    "simulator/kernel/arrivals.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/codes.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/connections.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/ending.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/incidents.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/life.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/limits.py": "tests/simulator/kernel/test_equality.py",
    "simulator/kernel/loop.py": "tests/simulator/kernel/test_equality.py",
    "models/history/delimited.py": "tests/models/history/test_opening.py",
    "models/history/records.py": "tests/models/history/test_operator.py",
    "models/history/workbooks.py": "tests/models/history/test_operator.py",
    "models/history/gaps.py": "tests/models/history/test_several.py",
    "models/history/inspection.py": "tests/experiments/test_cli_history.py",
    "loadgen/caller.py": "tests/loadgen/test_real_calls.py",
    "loadgen/planned_call.py": "tests/loadgen/test_real_calls.py",
    "loadgen/media/compiled/loop.py": "tests/loadgen/media/compiled/test_same.py",
    "loadgen/media/compiled/sockets.py": "tests/loadgen/media/compiled/test_same.py",
    "loadgen/customer.py": "tests/loadgen/test_real_calls.py",
    "loadgen/dialler.py": "tests/loadgen/test_real_calls.py",
    "loadgen/stacks/pstn.py": "tests/loadgen/stacks/test_carrier.py",
    "loadgen/sip/screening.py": "tests/loadgen/sip/test_endpoint.py",
    "loadgen/sip/timers.py": "tests/loadgen/sip/test_transaction.py",
    "experiments/knee/result.py": "tests/experiments/knee/test_find.py",
    "loadgen/workers/crews.py": "tests/loadgen/workers/test_team.py",
    "loadgen/workers/worker.py": "tests/loadgen/workers/test_team.py",
}
"""Modules that are only seen through what uses them, and the tests that see them so."""

MADE = {"build", "out", "__pycache__"}
"""Folders that are made, not written."""

REGISTRY = re.compile(r"\b(?:crates|debian|npmjs|pypi|pythonhosted)\.(?:io|org)\b")
INDEX_OPTION = re.compile(r"(?i)(?:index[-_]url|find[-_]links|trusted[-_]host)")
MACHINE_PATH = re.compile(r"(?<![\w.*~-])/(?:work|root|home)/\w")


def _modules(root: Path, *packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((root / package).rglob("*.py"))


def _imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module if node.level == 0 and node.module else "a relative import"


def wrong_imports(root: Path) -> list[str]:
    """Imports against the direction, and relative ones, which hide it."""
    return [
        f"{module.relative_to(root)} imports {name}"
        for package, allowed in MAY_IMPORT.items()
        for module in _modules(root, package)
        for name in _imported(module)
        if name == "a relative import" or name.partition(".")[0] in MAY_IMPORT.keys() - allowed
    ]


def without_docstring(root: Path) -> list[str]:
    """Modules that do not open by saying what they are."""
    return [
        str(module.relative_to(root))
        for module in _modules(root, *MAY_IMPORT)
        if not ast.get_docstring(ast.parse(module.read_bytes()))
    ]


def without_tests(root: Path) -> list[str]:
    """Modules that no test is named after, imports, or is known to exercise."""
    modules = (module.relative_to(root) for module in _modules(root, *MIRRORED) if not module.stem.startswith("__"))
    imported = {name for test in _modules(root, "tests") for name in _imported(test)}
    return [
        str(module)
        for module in modules
        if not (root / "tests" / module.parent / f"test_{module.name}").exists()
        and ".".join(module.with_suffix("").parts) not in imported
        and not (root / EXERCISED.get(str(module), "tests/none.py")).exists()
    ]


def _written(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text file that someone wrote: not what git ignores."""
    kept = {".ci", ".editorconfig", ".gitattributes", ".gitignore"}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        made = any(part in MADE or part.endswith(".egg-info") for part in parts)
        if made or (parts[0].startswith(".") and parts[0] not in kept) or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            yield path.relative_to(root), content.decode(errors="replace")


def foreign_places(root: Path) -> list[str]:
    """Package registries, options that choose one, and paths of one machine: all are the machine's configuration."""
    return [
        f"{path}: {match[0]}"
        for path, text in _written(root)
        if root / path != Path(__file__)  # which names what it forbids
        for rule in (REGISTRY, INDEX_OPTION, MACHINE_PATH)
        for match in rule.finditer(text)
    ]


def _plant(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("models/a.py", "import loadgen.sip", "models/a.py imports loadgen.sip"),
        ("simulator/a.py", "from loadgen import net", "simulator/a.py imports loadgen"),
        ("loadgen/a.py", "def f() -> None:\n    import simulator", "loadgen/a.py imports simulator"),
        ("loadgen/a.py", "from . import b", "loadgen/a.py imports a relative import"),
    ],
)
def test_a_planted_wrong_import_is_found(tmp_path: Path, name: str, text: str, said: str) -> None:
    _plant(tmp_path, name, text)
    assert wrong_imports(tmp_path) == [said]


def test_a_planted_module_without_docstring_or_tests_is_found(tmp_path: Path) -> None:
    _plant(tmp_path, "models/a.py", "A = 1\n")
    _plant(tmp_path, "models/b.py", '"""Two."""\n')
    _plant(tmp_path, "tests/models/test_b.py", "")
    assert without_docstring(tmp_path) == ["models/a.py"]
    assert without_tests(tmp_path) == ["models/a.py"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("get it from npmjs.io", "a.txt: npmjs.io"),
        ("pip --extra-index-url x", "a.txt: index-url"),
        ("open('/home/someone/x')", "a.txt: /home/s"),
    ],
)
def test_a_planted_foreign_place_is_found(tmp_path: Path, text: str, said: str) -> None:
    _plant(tmp_path, "a.txt", text)
    assert foreign_places(tmp_path) == [said]


@pytest.mark.parametrize("offenders", [wrong_imports, without_docstring, without_tests, foreign_places])
def test_this_repository_keeps_the_rule(offenders: Callable[[Path], list[str]]) -> None:
    found = offenders(ROOT)
    assert not found, "\n".join(found)
