"""A telephone of others: a program that is told what to do, and says what happened."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.loadgen.stacks.telephones.voice import frames_in

from trunkproof.loadgen.media.voiceprint import Side

WITHIN_S = 10.0
"""Whatever is awaited comes within milliseconds, or never."""


@dataclass(frozen=True)
class Setup:
    """What a telephone is told at its start."""

    folder: Path
    """For its configuration and its recordings."""
    address: str
    port: int
    """Where it listens for TLS."""
    trunk: str
    """`host:port` of the trunk."""
    ca_file: str
    account: str
    """The host part of its own address of record."""
    numbers: tuple[str, ...] = ()
    """The numbers at which it is called."""
    certificate: str | None = None
    key: str | None = None
    """What it shows to callers. None where it is never called."""


@dataclass(frozen=True)
class Words:
    """How a program is told what to do, and patterns of what it says."""

    answer: str
    refuse: str
    hang_up: str
    hold: str
    resume: str
    quit: str
    rung: str
    ringing: str
    up: str
    over: str
    received: str | None = None
    """How many packets it has received, in one or more streams. None where it does not tell."""
    move: str | None = None
    """None where it cannot have its audio elsewhere in the middle of a call."""
    refresh: str | None = None
    """None where it has no session timer."""


class Program:
    """A running program with its words. Marks are positions in them: only what came after a mark is awaited."""

    def __init__(self, command: tuple[str, ...], *, cwd: Path, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._said = ""
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=command[0], daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := self._process.stdout.read1(65_536):  # type: ignore[attr-defined]
            with self._more:
                self._said += piece.decode("utf-8", "replace")
                self._more.notify_all()

    @property
    def said(self) -> str:
        return self._said

    @property
    def mark(self) -> int:
        return len(self._said)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def until(self, pattern: str, since: int, seconds: float = WITHIN_S) -> re.Match[str]:
        """Wait until the program says what the pattern describes."""
        found: list[re.Match[str] | None] = [None]

        def says() -> bool:
            found[0] = re.search(pattern, self._said[since:])
            return found[0] is not None

        with self._more:
            self._more.wait_for(says, seconds)
        assert found[0] is not None, f"{pattern!r} was not said in {seconds:g} s, but:\n{self._said[since:]}"
        return found[0]

    def end(self, last_words: str) -> None:
        """End the program: politely, and else by force."""
        try:
            self.tell(last_words)
            self._process.wait(WITHIN_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(WITHIN_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            # What it was not able to read any more is of no use.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Telephone(ABC):
    """One telephone, from its start to `close`. It has one call at a time. Its subclass has started `program`."""

    name: str
    program: Program
    words: Words
    first_suite = "AES_CM_128_HMAC_SHA1_80"
    """The crypto suite that it offers first. The trunk may choose another one."""
    busy_status = 486
    """What it answers when it is told to refuse a call."""
    records_after_hold = True
    """Its recording goes on when a held call is resumed."""
    source: str | None = None
    """Where its own TLS connections come from, if not from its address."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.mark = 0
        self.in_call = False

    def uri(self, number: str) -> str:
        return f"sip:{number}@{self.setup.trunk}"

    def begin(self, says: Path) -> None:
        """Forget the call before, and say in the next one what is in this WAV file of 8 kHz."""
        self.mark, self.in_call = self.program.mark, True
        for recording in self.recordings():
            recording.unlink()
        self.speak(says)

    def until_rung(self) -> None:
        """Wait until it rings here."""
        self._until(self.words.rung)

    def until_ringing(self) -> None:
        """Wait until it rings at the other side."""
        self._until(self.words.ringing)

    def until_up(self) -> None:
        self._until(self.words.up)

    def until_up_or_over(self) -> bool:
        """Wait until the call is up or refused. Return whether it is up."""
        self._until(f"{self.words.up}|{self.words.over}")
        return re.search(self.words.up, self.program.said[self.mark :]) is not None

    def until_over(self) -> None:
        self._until(self.words.over)
        self.in_call = False

    def _until(self, pattern: str) -> None:
        self.program.until(pattern, self.mark)

    def answer(self) -> None:
        self.program.tell(self.words.answer)

    def refuse(self) -> None:
        """Refuse as busy."""
        self.program.tell(self.words.refuse)

    def hang_up(self) -> None:
        self.program.tell(self.words.hang_up)

    def hold(self) -> None:
        self.program.tell(self.words.hold)

    def resume(self) -> None:
        self.program.tell(self.words.resume)

    def move(self) -> None:
        """Have the audio elsewhere from now on, by a re-INVITE."""
        assert self.words.move is not None
        self.program.tell(self.words.move)

    def refresh(self) -> None:
        """Refresh the session as its timer does after half the interval (RFC 4028)."""
        assert self.words.refresh is not None
        self.program.tell(self.words.refresh)

    def close(self) -> None:
        self.program.end(self.words.quit)

    @abstractmethod
    def speak(self, says: Path) -> None:
        """Choose what it says in the next call."""

    @abstractmethod
    def dial(self, number: str) -> None: ...

    @abstractmethod
    def press(self, keys: str) -> None: ...

    @abstractmethod
    def recordings(self) -> list[Path]:
        """Return the recordings of the newest call."""

    def received(self) -> int | None:
        """Return how many packets it has received in the newest call, if it tells."""
        if self.words.received is None:
            return None
        # Some tell it a moment after the end of the call.
        self._until(self.words.received)
        return sum(int(count) for count in re.findall(self.words.received, self.program.said[self.mark :]))

    def heard(self) -> Counter[tuple[Side, int] | None]:
        """Return the frames of 20 ms heard in the newest call, by who spoke and the plan's row."""
        return sum((frames_in(path) for path in self.recordings()), Counter())
