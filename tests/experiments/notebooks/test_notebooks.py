"""Every notebook runs from top to bottom, shows a picture, is kept without outputs, and leaves nothing in the tree."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (make setup)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (make setup)")

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
PATIENCE_S = 600
"""For one cell: a guard against one that hangs, not a statement about speed."""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel's name; whatever Jupyter and IPython keep goes to a temporary folder."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".package"))
    kernelspec = pytest.importorskip("jupyter_client.kernelspec")
    try:
        kernelspec.KernelSpecManager().get_kernel_spec("python3")
    except kernelspec.NoSuchKernel:
        pytest.skip("the Jupyter kernel python3 is not installed (ipykernel; make setup-dev)")
    return "python3"


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if "__pycache__" not in path.parts}


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_is_short(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert 10 <= len(notebook.cells) <= 20
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


# The first is run each time, the others with the slow tests.
@pytest.mark.parametrize(
    "path",
    [path if path is NOTEBOOKS[0] else pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_it_runs_and_leaves_nothing_behind(path: Path, kernel: str, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = _files(path.parents[1])
    run_in = tmp_path / "elsewhere"
    run_in.mkdir()
    client = nbclient.NotebookClient(
        notebook, timeout=PATIENCE_S, kernel_name=kernel, resources={"metadata": {"path": str(run_in)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not list(run_in.iterdir())
    assert _files(path.parents[1]) == before
