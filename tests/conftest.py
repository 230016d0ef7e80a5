"""What every test may use: reproducible Hypothesis examples, enough file descriptors, a free port, the mark `requires`.

Not the place for what one folder alone needs: that is in the folder's own conftest.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import shutil
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import settings

# Reproducible by default. To look for new examples: pytest --hypothesis-profile=default
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci")


APART = "TRUNKPROOF_TESTS_APART"
"""Set: each process that runs tests does so in a network of its own. Their addresses and ports never meet."""
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


def enter_own_network() -> None:
    """Give this process an empty network namespace with its loopback up.

    Raises:
        OSError: this user may not, or this is no Linux.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with socket.socket() as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))


def pytest_configure(config: pytest.Config) -> None:
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if APART in os.environ and not hands_out:
        enter_own_network()
    config.addinivalue_line("markers", "alone: needs both cores to itself, so no other test runs beside it")
    config.addinivalue_line("markers", "slow: `make test` leaves it out for its time, and `make test-slow` runs it")
    config.addinivalue_line(
        "markers",
        "requires(program, package=program): skip where this program is missing; `package` is Debian's name for it",
    )


def pytest_sessionstart() -> None:
    # Programs that tests start import this checkout, wherever the package is installed from.
    paths = (str(Path(__file__).parents[1] / ".package"), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    # Every call has two sockets on each side: the usual soft limit of 1024 is too low for a few hundred calls.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _missing(program: str, package: str | None = None) -> str | None:
    # Daemons are in folders that not every user's PATH names.
    if shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin"):
        return None
    return f"{program} is not installed (sudo apt-get install {package or program})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("requires"):
            if (reason := _missing(*mark.args, **mark.kwargs)) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def free_tcp_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on: to be refused on, or for a program that must be told its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
