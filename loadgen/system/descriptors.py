"""How many files, sockets included, this process may have open. Each side of a call takes two sockets.

Windows has no such limit, and no module `resource`.
"""

from __future__ import annotations

import sys

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

UNLIMITED = sys.maxsize


def open_file_limits() -> tuple[int, int]:
    """Return the soft and the hard limit. `UNLIMITED` stands for none."""
    if resource is None:
        return UNLIMITED, UNLIMITED
    soft, hard = (
        UNLIMITED if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard


def raise_open_file_limit() -> int:
    """Raise the soft limit to the hard limit, and return it."""
    if resource is None:
        return UNLIMITED
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return open_file_limits()[1]
