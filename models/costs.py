"""What a trunk's machine spends: seconds of CPU per handshake, message and packet, and the network's round trip.

Calibrations are data files beside this module, one per stack and machine; this reads and checks them. How the work
queues for the cores is `simulator.host`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from models.errors import InputError, Problem
from models.settings import Settings

CALIBRATIONS = Path(__file__).parent / "calibrations"
Seconds = Annotated[float, Field(ge=0, le=10)]


class Costs(Settings):
    """Seconds of one core, unless said otherwise."""

    tcp_accept_s: Seconds
    full_handshake_s: Seconds
    resumed_handshake_s: Seconds
    invite_s: Seconds
    """An INVITE that is admitted, until its first response."""
    refusal_s: Seconds
    """A refused INVITE, on top of its parsing."""
    bye_s: Seconds
    packet_s: Seconds
    """One SRTP packet, received or sent, with its system call."""
    round_trip_s: Seconds
    """Between customer and trunk, as wall time, with what both ends' event loops add to it."""


def load_costs(name: str) -> Costs:
    """The calibration of that name, or of that path.

    Raises:
        InputError: there is none, or it says something impossible; lists all problems.
    """
    path = CALIBRATIONS / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    try:
        return Costs.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError:
        known = ", ".join(sorted(file.stem for file in CALIBRATIONS.glob("*.yaml")))
        problem = Problem(where="calibration", what=f"there is none of that name or path; known: {known}")
        raise InputError(name, [problem]) from None
    except yaml.YAMLError as error:
        raise InputError(str(path), [Problem(where="YAML", what=str(error))]) from None
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, e["loc"])) or "file", what=e["msg"]) for e in error.errors()]
        raise InputError(str(path), problems) from None
