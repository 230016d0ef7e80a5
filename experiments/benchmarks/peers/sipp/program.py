"""Find SIPp, render its two scenarios, and start it. The benchmark that starts it measures what it spends.

Debian 12's own SIPp has neither TLS nor SRTP. `.ci/fetch-suite .stacks/sipp sip-tester` unpacks one that has both.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.loadgen.media.voiceprint import Side, write_frame
from trunkproof.loadgen.system.cores import on_cores
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.study import Pop

ANSWERER, CALLER = "127.0.70.1", "127.0.0.2"
WANTED = "SIPp with TLS and SRTP is missing (.ci/fetch-suite .stacks/sipp sip-tester)"
_ROOT = Path(__file__).resolve().parents[4] / ".stacks" / "sipp" / "root"
_PORTS = {"answerer": (10_000, 35_000), "caller": (35_000, 60_000)}
_READY_WITHIN_S = 10.0
_SPEECH_FRAMES = 500
_NO_PACE = 100_000.0
"""Calls per second asked of SIPp where only the number of calls at once must limit it."""


def find_sipp() -> tuple[str, ...] | None:
    """Return the command of a SIPp with TLS and SRTP; None where there is none."""
    loader = next(iter(sorted(_ROOT.glob("usr/lib/*/ld-linux*.so*"))), None)
    if loader is None:
        return None
    return (str(loader), "--library-path", str(loader.parent), str(_ROOT / "usr/bin/sipp"))


@dataclass(frozen=True)
class Answerer:
    """A SIPp that answers calls over TLS."""

    host: str
    port: int
    server_name: str
    ca_file: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def answering(sipp: Sequence[str], folder: Path, *, media: bool, cores: Sequence[int] = ()) -> Iterator[Answerer]:
    """Run a SIPp that answers every call while the block runs. With `media` it echoes audio under a key of its own.

    Raises:
        BenchmarkError: SIPp does not listen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, name, port = Authority(folder / "certificates"), Pop().host, free_port(ANSWERER)
    files = authority.issue(name, ANSWERER)
    _render("answerer", folder, media=media)
    options = ["-p", str(port), "-tls_cert", str(files.cert_chain_pem), "-tls_key", str(files.key_pem)]
    command = (*on_cores(cores), *sipp, *options, *_options("answerer", ANSWERER), "-t", "l1")
    process = _start(command, folder)
    try:
        _await_listening(process, port, folder)
        yield Answerer(ANSWERER, port, name, authority.ca_file, process)
    finally:
        process.kill()
        process.wait()


def start_caller(
    sipp: Sequence[str],
    folder: Path,
    answerer: Answerer,
    *,
    media: bool,
    calls: int,
    calls_per_s: float,
    at_once: int,
    hold_s: float = 0.0,
    per_call: bool = False,
    cores: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start SIPp as the caller, over one connection or with one per call. It ends with 0 if all calls succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    _render("caller", folder, media=media)
    # The audio that SIPp plays again and again: the first ten seconds of our caller's.
    speech = b"".join(write_frame(Side.CALLER, 0, number) for number in range(_SPEECH_FRAMES))
    (folder / "frames.alaw").write_bytes(speech)
    options = f"""
        {answerer.host}:{answerer.port} -t {"ln" if per_call else "l1"} -tls_ca {answerer.ca_file}
        -m {calls} -r {calls_per_s:.0f} -l {at_once} -d {1000 * hold_s:.0f} -timeout {_patience_s(calls, hold_s)}
        -timeout_error
    """
    return _start((*on_cores(cores), *sipp, *options.split(), *_options("caller", CALLER)), folder)


def errors_of(folder: Path) -> str:
    """Return the end of the error output of the SIPp that ran in a folder."""
    words = [path.read_text(errors="replace") for path in (*folder.glob("*errors.log"), folder / "sipp.log")]
    return "\n".join(words)[-1000:]


def _patience_s(calls: int, hold_s: float) -> int:
    return int(60 + hold_s + calls / 50)


def _options(name: str, address: str) -> list[str]:
    low, high = _PORTS[name]
    return f"""
        -sf {name}.xml -i {address} -mi {address} -bind_local -nostdin -trace_err -max_socket 15000
        -min_rtp_port {low} -max_rtp_port {high}
    """.split()


def _render(name: str, folder: Path, *, media: bool) -> None:
    loader = PackageLoader("trunkproof.experiments.benchmarks.peers.sipp", "scenarios")
    environment = Environment(loader=loader, trim_blocks=True, undefined=StrictUndefined, autoescape=False)
    text = environment.get_template(f"{name}.xml.j2").render(media=media)
    (folder / f"{name}.xml").write_text(text, encoding="utf-8")


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "sipp.log").open("wb") as log:
        # Its screen goes nowhere: drawing it would cost CPU that does not belong to the calls.
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)


def _await_listening(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    ready = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < ready and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((ANSWERER, port), timeout=1):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"SIPp does not listen: {errors_of(folder)}")


@dataclass(frozen=True)
class Finished:
    """What a SIPp spent from its start to its end."""

    cpu_s: float
    wall_s: float


def run_caller(
    sipp: Sequence[str],
    folder: Path,
    answerer: Answerer,
    *,
    calls: int,
    at_once: int,
    per_call: bool,
    cores: Sequence[int] = (),
) -> Finished:
    """Run SIPp as the caller without media, as fast as it can, until all calls are over.

    Raises:
        BenchmarkError: a call failed.
    """
    began_s = time.perf_counter()
    process = start_caller(
        sipp,
        folder,
        answerer,
        media=False,
        calls=calls,
        calls_per_s=_NO_PACE,
        at_once=at_once,
        per_call=per_call,
        cores=cores,
    )
    _, status, used = os.wait4(process.pid, 0)
    # We have waited for the process: tell Popen, which can no longer do it.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"calls of SIPp failed: {errors_of(folder)}")
    return Finished(used.ru_utime + used.ru_stime, time.perf_counter() - began_s)
