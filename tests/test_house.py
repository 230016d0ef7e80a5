"""The house's own rules: which way imports point, what every module has, what no file says.

Each rule is a function from a tree to its offenders, shown to find a planted one, then asked of this repository.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NAME = "trunkproof"
"""The one name under which everything is imported."""

MAY_IMPORT = {
    "models": {"models"},
    "simulator": {"simulator", "models"},
    "loadgen": {"loadgen", "models"},
    "experiments": {"experiments", "simulator", "loadgen", "models"},
}
"""The one direction of imports among the packages."""

MAY_IMPORT_REPORT = {"cli", "report", "verification"}
"""The rooms of `experiments` that make pages: the command, and what proves the tool itself and is not installed."""

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
    "models/demand/history/delimited.py": "tests/models/demand/history/test_opening.py",
    "models/demand/history/records.py": "tests/models/demand/history/test_operator.py",
    "models/demand/history/workbooks.py": "tests/models/demand/history/test_operator.py",
    "models/demand/history/gaps.py": "tests/models/demand/history/test_several.py",
    "models/demand/history/inspection.py": "tests/experiments/test_cli_history.py",
    "loadgen/media/compiled/loop.py": "tests/loadgen/media/compiled/test_same.py",
    "loadgen/media/compiled/sockets.py": "tests/loadgen/media/compiled/test_same.py",
    "loadgen/media/compiled/tapping.py": "tests/loadgen/media/test_tap.py",
    "loadgen/parties/pstn.py": "tests/loadgen/parties/test_carrier.py",
    "loadgen/sip/screening.py": "tests/loadgen/sip/test_endpoint.py",
    "experiments/sizing/knee/result.py": "tests/experiments/sizing/knee/test_find.py",
    "loadgen/system/linux.py": "tests/test_portable.py",
    "loadgen/tls/pem.py": "tests/experiments/cli/test_wrong_inputs.py",
    "loadgen/workers/choice.py": "tests/loadgen/workers/test_pool.py",
    "models/throttles/pace.py": "tests/models/throttles/test_throttles.py",
    "models/throttles/sliding.py": "tests/models/throttles/test_throttles.py",
    "models/timers.py": "tests/loadgen/sip/test_transaction.py",
    "loadgen/workers/worker.py": "tests/loadgen/workers/test_pool.py",
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


def _imported(module: Path) -> tuple[str, ...]:
    return _imported_of(module, module.stat().st_mtime_ns)


@cache
def _imported_of(module: Path, _: int) -> tuple[str, ...]:
    """Return what a module imports; the second argument is when it was written."""
    found: list[str] = []
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module if node.level == 0 and node.module else "a relative import")
    return tuple(found)


def _ours(module: Path) -> Iterator[tuple[str, ...]]:
    """What a module imports of ours, in parts, the package first."""
    for name in _imported(module):
        first, *parts = name.split(".")
        if first == NAME and parts:
            yield tuple(parts)


def wrong_imports(root: Path) -> list[str]:
    """Imports against the direction, and relative ones, which hide it."""
    return [
        f"{module.relative_to(root)} imports {'.'.join(parts)}"
        for package, allowed in MAY_IMPORT.items()
        for module in _modules(root, package)
        for parts in _ours(module)
        if parts[0] not in allowed
    ]


def other_names(root: Path) -> list[str]:
    """Imports that would not work in an installation: by a folder's bare name, or relative."""
    return [
        f"{module.relative_to(root)} imports {name}"
        for module in _modules(root, *MAY_IMPORT, "tests")
        for name in _imported(module)
        if name == "a relative import" or name.partition(".")[0] in MAY_IMPORT
    ]


def circular_rooms(root: Path) -> list[str]:
    """Rooms of one folder that import each other, over however many steps."""
    return [cycle for folder in _folders(root) for cycle in _cycles(folder.relative_to(root).parts, root)]


def _folders(root: Path) -> Iterator[Path]:
    for package in MAY_IMPORT:
        yield from sorted(path.parent for path in (root / package).rglob("__init__.py"))


def _cycles(folder: tuple[str, ...], root: Path) -> Iterator[str]:
    depth = len(folder)
    imports: dict[str, set[str]] = {}
    for module in sorted(root.joinpath(*folder).rglob("*.py")):
        room = module.relative_to(root).with_suffix("").parts[depth]
        others = {parts[depth] for parts in _ours(module) if parts[:depth] == folder and len(parts) > depth}
        imports.setdefault(room, set()).update(others - {room})
    for room in imports:
        if room in _reached(imports, room):
            yield f"{'/'.join(folder)}: {room} imports what imports it"


def _reached(imports: dict[str, set[str]], room: str) -> set[str]:
    reached, todo = set[str](), [room]
    while todo:
        new = imports.get(todo.pop(), set()) - reached
        reached |= new
        todo += new
    return reached


def pages_made_elsewhere(root: Path) -> list[str]:
    """Modules that make pages beside those whose task it is."""
    return [
        f"{module.relative_to(root)} imports {'.'.join(parts)}"
        for module in _modules(root, "experiments")
        for parts in _ours(module)
        if parts[:2] == ("experiments", "report")
        and module.relative_to(root / "experiments").parts[0] not in MAY_IMPORT_REPORT
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
        and ".".join((NAME, *module.with_suffix("").parts)) not in imported
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
        ("models/a.py", "import trunkproof.loadgen.sip", "models/a.py imports loadgen.sip"),
        ("simulator/a.py", "from trunkproof.loadgen import net", "simulator/a.py imports loadgen"),
        ("loadgen/a.py", "def f() -> None:\n    import trunkproof.simulator", "loadgen/a.py imports simulator"),
    ],
)
def test_a_planted_wrong_import_is_found(tmp_path: Path, name: str, text: str, said: str) -> None:
    _plant(tmp_path, name, text)
    assert wrong_imports(tmp_path) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from . import b", "loadgen/a.py imports a relative import"),
        ("from models import plan", "loadgen/a.py imports models"),
        ("import models.plan", "loadgen/a.py imports models.plan"),
    ],
)
def test_a_planted_other_name_is_found(tmp_path: Path, text: str, said: str) -> None:
    _plant(tmp_path, "loadgen/a.py", text)
    assert other_names(tmp_path) == [said]


def test_planted_circular_rooms_are_found(tmp_path: Path) -> None:
    _plant(tmp_path, "loadgen/__init__.py", "")
    _plant(tmp_path, "loadgen/a/b.py", "from trunkproof.loadgen.c import d")
    _plant(tmp_path, "loadgen/c/d.py", "import trunkproof.loadgen.e")
    assert circular_rooms(tmp_path) == []
    _plant(tmp_path, "loadgen/e.py", "import trunkproof.loadgen.a.b")
    assert circular_rooms(tmp_path) == [f"loadgen: {room} imports what imports it" for room in ("a", "c", "e")]


def test_a_planted_page_maker_is_found(tmp_path: Path) -> None:
    for name in ("review/a.py", "cli/a.py"):
        _plant(tmp_path, f"experiments/{name}", "from trunkproof.experiments.report.page import render")
    assert pages_made_elsewhere(tmp_path) == ["experiments/review/a.py imports experiments.report.page"]


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


@pytest.mark.parametrize(
    "offenders",
    [
        wrong_imports,
        other_names,
        circular_rooms,
        pages_made_elsewhere,
        without_docstring,
        without_tests,
        foreign_places,
    ],
)
def test_this_repository_keeps_the_rule(offenders: Callable[[Path], list[str]]) -> None:
    found = offenders(ROOT)
    assert not found, "\n".join(found)
