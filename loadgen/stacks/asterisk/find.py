"""Find Asterisk on this machine: installed, or unpacked together with its own libraries.

It downloads nothing; `.ci/fetch-suite` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkproof.models.errors import StackError

VARIABLE = "TRUNKPROOF_ASTERISK"
"""The environment variable with the folder of an unpacked Asterisk, which contains `usr/sbin/asterisk`."""
UNPACKED = Path(__file__).resolve().parents[3] / ".stacks" / "asterisk" / "root"
"""The folder into which `make asterisk` unpacks it."""


@dataclass(frozen=True)
class Installation:
    """An Asterisk that can be started."""

    command: tuple[str, ...]
    """The program and its first arguments. Asterisk's own arguments follow."""
    modules: Path
    data: Path
    """Contains `documentation`. Without it no module accepts its configuration."""


def find_asterisk(
    environment: Mapping[str, str] = os.environ, *, system: Path = Path("/"), unpacked: Path = UNPACKED
) -> Installation:
    """Return the Asterisk to use: that of `TRUNKPROOF_ASTERISK`, or the installed one, or that of this checkout.

    Raises:
        StackError: there is none; the message says how to get it.
    """
    named = environment.get(VARIABLE)
    if named:
        found = _unpacked(Path(named).resolve())
        if found is None:
            raise StackError(f"{VARIABLE} names {named}, which holds no usr/sbin/asterisk with its modules and loader")
        return found
    found = _installed(system) or _unpacked(unpacked)
    if found is None:
        how = (
            "`make asterisk` unpacks it into .stacks/ (without root)"
            if (UNPACKED.parents[2] / "Makefile").exists()
            else "a checkout of trunkproof gets it by `make asterisk`, and its container has it"
        )
        raise StackError(
            f"Asterisk is not on this machine: {how}; or install the package asterisk, or let {VARIABLE} name the "
            "folder of an unpacked one; --stack embedded needs none"
        )
    return found


def _installed(system: Path) -> Installation | None:
    program = system / "usr/sbin/asterisk"
    places = _modules_and_data(system)
    return Installation((str(program),), *places) if program.is_file() and places else None


def _unpacked(root: Path) -> Installation | None:
    program = root / "usr/sbin/asterisk"
    places = _modules_and_data(root)
    loader = next(iter(sorted(root.glob("usr/lib/*/ld-linux*.so*"))), None)
    if not program.is_file() or places is None or loader is None:
        return None
    # Its libraries are newer than this machine's, so only the loader that came with them can load them.
    libraries = f"{loader.parent}:{loader.parent / 'asterisk'}"
    return Installation((str(loader), "--library-path", libraries, str(program)), *places)


def _modules_and_data(root: Path) -> tuple[Path, Path] | None:
    modules = [*sorted(root.glob("usr/lib/*/asterisk/modules")), *root.glob("usr/lib/asterisk/modules")]
    data = [root / "usr/share/asterisk", root / "var/lib/asterisk"]
    with_documentation = [folder for folder in data if (folder / "documentation").is_dir()]
    return (modules[0], with_documentation[0]) if modules and with_documentation else None
