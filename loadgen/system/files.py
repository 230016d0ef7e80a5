"""Write files whole: aside first, onto the disk, then renamed. A reader never meets half a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from trunkproof.models.errors import StorageError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path to write to. After the block the file there is put in the place of `path`, in one step.

    After an error the old file, if there is one, stays as it was.

    Raises:
        StorageError: it cannot be written.
    """
    # In the same folder: a rename works only within one file system.
    aside = path.with_name(f".{path.name}.partial")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    # Polars has an error of its own for a disk that is full.
    except (OSError, pl.exceptions.ComputeError) as error:
        raise no_room(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that it outlives a loss of power."""
    # Windows opens no folders, and flushes only what may be written to.
    if not hasattr(os, "O_DIRECTORY") and path.is_dir():
        return
    descriptor = os.open(path, (os.O_RDONLY if hasattr(os, "O_DIRECTORY") else os.O_RDWR) | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_room(path: Path, error: Exception) -> StorageError:
    """Return the error that says why a file cannot be written."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(f"{path} cannot be written: {why}")
