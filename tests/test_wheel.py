"""The wheel: what is in it, and that it works in a folder with somebody else's `models.py` and `experiments/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = "name: x\nduration_s: 20\ntraffic: {arrivals: {kind: poisson, rate_per_minute: 120}, holding: 1}\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(f"no wheel can be built here: {built.stderr.strip()[-300:]}")
    return zipfile.ZipFile(next(folder.glob("trunkproof-*.whl")))


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder)
    return folder


def test_everything_goes_by_one_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trunkproof"}


@pytest.mark.parametrize("room", ["studies", "requests", "notebooks"])
def test_what_users_start_from_is_in_it(wheel: zipfile.ZipFile, room: str) -> None:
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "experiments" / room).rglob("*.*") if path.is_file()}
    written = {name for name in shipped if name.endswith((".yaml", ".ipynb"))}
    assert written
    assert {f"trunkproof/{name}" for name in written} <= set(wheel.namelist())


@pytest.mark.parametrize("room", ["benchmarks", "manual", "verification", "results"])
def test_what_proves_the_tool_itself_stays_out(wheel: zipfile.ZipFile, room: str) -> None:
    assert not [name for name in wheel.namelist() if name.startswith(f"trunkproof/experiments/{room}/")]


def test_it_works_beside_modules_of_our_folders_names(installed: Path, tmp_path: Path) -> None:
    for name in ("models.py", "loadgen.py", "simulator.py", "experiments/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('this is somebody else\\'s')\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    # From Python, by SimPy and on sockets: the command would compile the kernel anew for this folder.
    use = "import trunkproof, trunkproof.loadgen.run as run; study = trunkproof.read_study('study.yaml'); "
    use += "print(trunkproof.simulate(study).height * (run.Run is trunkproof.Run))"
    for words in (("-m", "trunkproof.experiments.cli", "plan", "study.yaml", "--json"), ("-c", use)):
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
