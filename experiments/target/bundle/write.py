"""Write a bundle: a zip with all that an operator's support asks for, about the chosen calls of one run."""

from __future__ import annotations

from pathlib import Path

from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.loadgen.capture.options import FOLDER
from trunkproof.models.errors import InputError, Problem


def write_bundle(source: Path, to: Path, *, which: CallChoice, masked: bool = True) -> None:
    """Write a bundle of the chosen calls.

    Args:
        source: the result folder of a run with a capture (`RunOptions.capture`).
        to: the zip to write.
        which: the calls.
        masked: hide numbers, keys and credentials. Without it the bundle can be decrypted.

    Raises:
        InputError: the folder has no capture, none of the chosen calls was captured, or the zip cannot be written.
    """
    if not (source / FOLDER).is_dir():
        what = "holds no capture: run `load` or `validate` again with --capture"
        raise InputError(str(source), [Problem(where=FOLDER, what=what)])
