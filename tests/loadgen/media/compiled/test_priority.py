"""Short turns for a thread."""

import os
import threading

from trunkproof.loadgen.media.compiled.priority import take_short_turns


def test_a_thread_keeps_its_policy_and_niceness() -> None:
    told: list[bool] = []

    def work() -> None:
        thread = threading.get_native_id()
        before = os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)
        told.append(take_short_turns(thread))
        assert (os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)) == before
        told.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [True, True]


def test_a_thread_that_has_a_policy_of_its_own_is_left_alone() -> None:
    told: list[bool] = []

    def work() -> None:
        thread = threading.get_native_id()
        os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
        told.append(take_short_turns(thread))
        told.append(os.sched_getscheduler(thread) == os.SCHED_BATCH)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False, True]
