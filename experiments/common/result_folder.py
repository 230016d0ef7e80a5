"""The folder of one result: locked while in use, without an earlier result in it, every file written whole.

    with open_results(Path("out/mine")) as folder:
        with folder.writing(PAGE) as path:
            path.write_text(...)

What is measured goes into the journal meanwhile (`loadgen.journal`), so a run that is killed leaves a result too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trunkproof.loadgen.bugs import FILE as BUGS
from trunkproof.loadgen.capture.options import FOLDER as CAPTURE
from trunkproof.loadgen.system.files import no_room, written_aside
from trunkproof.loadgen.system.locks import lock_file
from trunkproof.models.errors import InputError, Problem, StorageError

STUDY = "study.json"
COMPARISON, PAGE = "comparison.json", "report.html"
PREDICTION = "prediction.json"
"""What `validate` knows before the first call: intervals, theory, warnings, provenance."""
PREDICTED, MEASURED, METERS = "predicted.parquet", "measured.parquet", "meters.parquet"
REFITTED = "predicted_fitted.parquet"
"""The prediction with the phases of the throttles' windows fitted to the calls."""
SERVED = "records.parquet"
"""The calls that came to a served trunk."""
JOURNAL = "journal"
"""The folder of the run's journals."""
TRUNK, PBX = "trunk", "pbx"
"""The folders of the trunk's programs and of the PBXs that `validate` starts."""
CARD = "trunk.json"
REPLAY = "replay.yaml"
"""The study that replays a run whose rate was changed while it lasted."""
EARLIER = "earlier"
"""The folder into which the result before this one is moved."""
LOCK = ".lock"
OF_ONE_RUN = (
    *(STUDY, COMPARISON, PAGE, PREDICTION, PREDICTED, REFITTED, MEASURED, METERS, SERVED),
    *(BUGS, JOURNAL, CAPTURE, TRUNK, PBX, CARD),
    # What `load` and `review` leave beside them.
    *(REPLAY, "load.json", "junit.xml", "reasons.csv", "thresholds.csv"),
    *("decision.json", "summary.txt", "report.pdf", "report.png"),
)
"""The names of what one run leaves. A new run moves them away before it begins."""


def check_result(folder: Path) -> None:
    """Check that a folder is there, and has a result in it.

    Raises:
        InputError: it is none, with what to name instead.
    """
    if not folder.exists():
        what = "does not exist: name the folder that was given to --out"
    elif not folder.is_dir():
        what = "is a file: name the folder that was given to --out"
    elif not (folder / STUDY).exists():
        what = f"holds no result, as there is no {STUDY} in it: name a folder that `load` or `validate` wrote"
    else:
        return
    raise InputError(str(folder), [Problem(where="folder", what=what)])


class ResultFolder:
    """A locked folder for one result. `open_results` makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def journal(self) -> Path:
        """Return the folder for the journals of a run (`RunOptions.journal`)."""
        return self.path / JOURNAL

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file in it, to be read or told."""
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a path to write the file of that name to. It takes its place after the block, or not at all.

        Raises:
            StorageError: it cannot be written. The message says where the measurements are meanwhile.
        """
        try:
            with written_aside(self.path / name) as path:
                yield path
        except StorageError as error:
            raise self._with_advice(error) from error

    def write(self, name: str, text: str) -> None:
        """Write a text file.

        Raises:
            StorageError: it cannot be written.
        """
        with self.writing(name) as path:
            path.write_text(text, encoding="utf-8")

    def _with_advice(self, error: StorageError) -> StorageError:
        if not self.journal.exists():
            return StorageError(f"{error}; make room and run the command again")
        # A path of its own for the page: this folder may stay full or read-only.
        advice = "what was measured is in the journal: make room, then `trunkproof report` writes the page"
        return StorageError(f"{error}; {advice} (trunkproof report {self.path} [--page FILE])")

    def move_earlier(self) -> None:
        """Move what an earlier run left into the folder `earlier`, in the place of what was there.

        Raises:
            StorageError: it cannot be moved.
        """
        found = [name for name in OF_ONE_RUN if (self.path / name).exists()]
        if not found:
            return
        earlier = self.path / EARLIER
        try:
            if earlier.exists():
                shutil.rmtree(earlier)
            earlier.mkdir()
            for name in found:
                (self.path / name).rename(earlier / name)
        except OSError as error:
            raise no_room(earlier, error) from error


@contextlib.contextmanager
def open_results(path: Path, *, fresh: bool = True) -> Iterator[ResultFolder]:
    """Make the folder where it is missing, and lock it while the block runs.

    The lock is the kernel's: it ends with this process, however that ends. If `fresh`, an earlier result is moved away.

    Raises:
        InputError: the folder cannot be made or written to, or another process uses it.
        StorageError: there is no room in it.
    """
    with contextlib.ExitStack() as held:
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk does not take must not be tried again at the end.
            lock = held.enter_context((path / LOCK).open("ab", buffering=0))
        except OSError as error:
            raise _cannot_use(path, error) from error
        _take(lock.fileno(), path)
        with contextlib.suppress(OSError):  # A full disk: the name of the holder is a convenience.
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
        folder = ResultFolder(path)
        if fresh:
            folder.move_earlier()
        yield folder


def _take(descriptor: int, path: Path) -> None:
    try:
        lock_file(descriptor)
    except BlockingIOError:
        holder = (path / LOCK).read_text(encoding="utf-8", errors="replace").strip()
        what = f"is in use by process {holder or 'unknown'}: wait for it, or name another folder"
        raise InputError("--out", [Problem(where=str(path), what=what)]) from None
    except OSError as error:
        # Some network file systems know no locks. Results can still be written there.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP}:
            raise _cannot_use(path, error) from error


def _cannot_use(path: Path, error: OSError) -> InputError | StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}:
        return no_room(path, error)
    return InputError("--out", [Problem(where=str(path), what=f"cannot be written to ({error.strerror})")])
