"""Where a running trunk is to be found: the small file that `serve` writes and `load` reads.

It carries addresses and the path of the trunk's certificate authority, no secrets.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.settings import Settings
from trunkproof.models.study import PORT, StackName


class CustomerFiles(Settings):
    """The certificate that a customer shows to callers of its TLS listener; throw-away, made by the trunk's
    authority.
    """

    certificate: str
    key: str
    phone_port: PORT | None = None
    """Where the customer's phones listen, when a PBX of others has the customer's own port."""


class TrunkCard(Settings):
    """A trunk that can be called."""

    stack: StackName = "embedded"
    """What plays it; foreign: a trunk that somebody else runs."""
    server_name: str
    """Host name that the trunk's certificate must carry."""
    host: str
    port: PORT
    ca_file: str
    control_port: PORT | None = None
    """Control channel of a trunk that `serve` plays, on the same host; other trunks have none."""
    customers: dict[str, CustomerFiles] = Field(default_factory=dict)
    """Trunk name -> the certificate of its customer's listener, for inbound calls."""
    pid: int | None = None
    """The process that plays or supervises it, where it is on this machine and ours."""
    processes: dict[str, int] = Field(default_factory=dict)
    """Program -> the first of its processes: what the trunk spends is measured on these and their children."""
    cores: tuple[int, ...] = ()
    """Cores of this machine that those programs have to themselves; none: they share all of them with everybody."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """Program -> the address of its Prometheus page."""
    study_digest: str | None = None

    def write(self, path: Path) -> None:
        """Write the card as JSON; whoever waits for the file finds it whole."""
        begun = path.with_suffix(".begun")
        begun.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        begun.replace(path)


def read_card(path: Path) -> TrunkCard:
    """Read a card that `TrunkCard.write` wrote.

    Raises:
        InputError: the file is missing or is no card; lists all that is wrong.
    """
    try:
        return TrunkCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), [Problem(where="file", what=f"cannot be read ({error.strerror})")]) from error
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, e["loc"])) or "file", what=e["msg"]) for e in error.errors()]
        raise InputError(str(path), problems) from None
