"""Asks the system to give a thread short turns often, not long ones rarely. It takes no rights, and no more time.

Linux serves first whose turn would end first, since 6.12; older ones, and other machines, leave all as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

TURN_NS = 100_000
"""The shortest that Linux allows."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The C library has no function for it before 2.41."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""A `struct sched_attr`: its size, policy, flags, niceness, priority, runtime, deadline, period."""


def take_short_turns(thread: int) -> bool:
    """Ask it for a thread by its native id, which keeps its niceness; whether the system took the wish.

    Where a packet is due while another thread has the core, it need not wait until that one's turn is over.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(thread) != os.SCHED_OTHER:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, thread)
    wish = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, niceness, 0, TURN_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, thread, wish, 0) == 0)
