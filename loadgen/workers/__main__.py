"""Run one worker process: `python -m trunkproof.loadgen.workers FOLDER INDEX`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from trunkproof.loadgen.system.loop import run_loop
from trunkproof.loadgen.workers.messages import read_task
from trunkproof.loadgen.workers.worker import work
from trunkproof.models.errors import TrunkproofError


def main() -> int:
    """Place one share of the plan in FOLDER, by the orders on standard input."""
    folder, index = Path(sys.argv[1]), int(sys.argv[2])
    # A process whose parent dies gets another parent. So this number says later whether the run is alive.
    run = os.getppid()
    task, plan = read_task(folder)
    try:
        run_loop(work(task, plan, folder, index))
    except TrunkproofError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        if os.getppid() != run:  # The run was killed and cannot remove the folder.
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
