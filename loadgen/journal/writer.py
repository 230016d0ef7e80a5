"""Write a journal: entries wait in memory for a fifth of a second, then go to the kernel, and each second to the disk.

What is with the kernel outlives this process. What is on the disk outlives a loss of power. Both are done in threads of
their own: a slow disk must not delay a call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trunkproof.loadgen.journal.lines import Entry, EntryKind, encode
from trunkproof.loadgen.system.files import no_room, sync

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.2
"""The run reads the journals of its workers as often. Together that is less than half a second behind."""
_SYNC_EVERY_S = 1.0
_MOST_IN_A_BATCH = 5000
_open: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal:
    """An append-only file of entries. `add` may be called from one thread, and never waits."""

    def __init__(self, path: Path, who: str, on_failure: Callable[[OSError], None] = lambda error: None) -> None:
        """Open the file, and write whose journal it is.

        Args:
            path: the file. Its folder is made where it is missing.
            who: the process, in words.
            on_failure: is called once, from another thread, where the file cannot be written any more.

        Raises:
            StorageError: it cannot be written.
        """
        self._path, self._on_failure = path, on_failure
        self._waiting: deque[Entry] = deque()
        self._unwritten = b""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.failure: OSError | None = None
        """Why the file cannot be written, if it cannot."""
        self.add(EntryKind.PROCESS, {"who": who, "pid": os.getpid(), "at": time.time()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # `O_EXCL`: one file is the journal of one run. Two in one would be read as one.
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._length = 0
            sync(path.parent)
        except OSError as error:
            raise no_room(path, error) from error
        self.flush()
        if self.failure is not None:
            os.close(self._descriptor)
            raise no_room(path, self.failure)
        _open.add(self)
        threads = ((self._flush_often, "journal"), (self._sync_often, "journal sync"))
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for work, name in threads]
        for thread in self._threads:
            thread.start()

    def add(self, kind: EntryKind, value: Any) -> None:
        """Add an entry. Its value is JSON, and is not changed afterwards."""
        self._waiting.append(Entry(kind, value))

    def flush(self) -> None:
        """Give all entries to the kernel, now. If that fails, they wait in memory for the next try."""
        with self._lock:
            while self._waiting:
                count = min(len(self._waiting), _MOST_IN_A_BATCH)
                self._unwritten += encode([self._waiting.popleft() for _ in range(count)])
            try:
                while self._unwritten:
                    written = os.write(self._descriptor, self._unwritten)
                    self._unwritten = self._unwritten[written:]
                    self._length += written
            except OSError as error:
                known, self.failure = self.failure is not None, error
            else:
                return
        # Once, and after the lock: whoever is told may want to flush too.
        if not known:
            logger.error("the journal %s cannot be written: %s", self._path, self.failure.strerror)
            self._on_failure(self.failure)

    def close(self) -> None:
        """Write what waits, and put all of it on the disk."""
        if self._closing.is_set():
            return
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self.flush()
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        _open.discard(self)

    def _flush_often(self) -> None:
        while not self._closing.wait(FLUSH_EVERY_S):
            self.flush()

    def _sync_often(self) -> None:
        synced = 0
        while not self._closing.wait(_SYNC_EVERY_S):
            length = self._length
            if length != synced:
                with contextlib.suppress(OSError):  # The next write says what is wrong.
                    os.fdatasync(self._descriptor)
                synced = length


def flush_all() -> None:
    """Give the entries of all open journals of this process to the kernel: the process is about to end at once."""
    for journal in tuple(_open):
        journal.flush()
