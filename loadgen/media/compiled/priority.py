"""Ask the system to give a thread short turns often, instead of long ones rarely.

It needs no privileges, and the thread gets no more time in all. Since Linux 6.12 the scheduler first serves the thread
whose turn would end first, so a thread with short turns waits less. Older kernels, and other machines than those below,
ignore the wish or are not asked.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

TURN_NS = 100_000
"""The shortest turn that Linux allows."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Numbers of the system call. The C library has no function for it before version 2.41."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""A `struct sched_attr`: its size, policy, flags, niceness, priority, runtime, deadline, period."""


def take_short_turns(thread: int) -> bool:
    """Ask for short turns for a thread, by its native id. Return whether the system took the wish.

    The thread keeps its niceness. Where a packet is due while another thread has the core, the pump then need not wait
    until that thread's turn is over.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    # The call below sets the policy too. A real-time thread would become an ordinary one.
    if number is None or os.sched_getscheduler(thread) != os.SCHED_OTHER:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, thread)
    wish = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, niceness, 0, TURN_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, thread, wish, 0) == 0)
