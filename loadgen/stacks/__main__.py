"""Run the trunk process beside a run: `python -m trunkproof.loadgen.stacks STUDY.json FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from trunkproof.loadgen.stacks.server import serve
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.study import Study


def main() -> int:
    """Write the card to FOLDER, and serve the trunk until a signal ends it."""
    study_file, folder = map(Path, sys.argv[1:3])
    study = Study.model_validate_json(study_file.read_text(encoding="utf-8"))
    try:
        run_loop(serve(study, folder))
    except TrunkproofError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
