"""The trunk card: the small file that `serve` writes and `load` reads, to find a running trunk.

It holds addresses, the path of the trunk's certificate authority, and the secret of the trunk's control channel. So
only its owner can read it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError

from trunkproof.models.edges import Edge
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.forms import explain
from trunkproof.models.hosts import PORT
from trunkproof.models.settings import Settings
from trunkproof.models.study import StackName, Transport

FOREIGN = "foreign"
"""The stack of a trunk that somebody else runs."""


class CustomerFiles(Settings):
    """The certificate that a customer's TLS listener shows to callers. The trunk's authority made it for one run."""

    certificate: str
    key: str
    phone_port: PORT | None = None
    """The port of the customer's phones, where a foreign PBX has the customer's own port."""


class TrunkCard(Settings):
    """A trunk that can be called."""

    stack: StackName = "embedded"
    """The stack that plays it, or `FOREIGN`."""
    server_name: str
    """The host name that the trunk's certificate must have."""
    host: str
    port: PORT
    transport: Transport = "tls"
    """What carries SIP there."""
    ca_file: str | None = None
    """Who signed its certificate. A trunk without TLS has none."""
    edges: tuple[Edge, ...] = ()
    """All edges of the trunk, those of the study's list in its order. Empty: the one at `host` and `port`."""
    control_port: PORT | None = None
    """The control channel of a trunk that `serve` plays, on the same host. Other trunks have none."""
    control_secret: str | None = Field(default=None, repr=False)
    """What a run must show on the control channel."""
    customers: dict[str, CustomerFiles] = Field(default_factory=dict)
    """The certificate of each trunk's customer's listener, by name of the trunk, for inbound calls."""
    pid: int | None = None
    """The process that plays or supervises the trunk, where it is ours and on this machine."""
    processes: dict[str, int] = Field(default_factory=dict)
    """The first process of each program. What the trunk spends is measured on these and their children."""
    cores: tuple[int, ...] = ()
    """The cores of this machine that those programs have to themselves. Without any, they share all cores."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """The address of each program's Prometheus page."""
    study_digest: str | None = None

    @property
    def is_foreign(self) -> bool:
        """Tell whether somebody else runs the trunk."""
        return self.stack == FOREIGN

    @property
    def doors(self) -> tuple[Edge, ...]:
        """Return the edges, at least one."""
        # Not checked anew: each value was.
        one = Edge.model_construct(host=self.server_name, port=self.port, address=self.host)
        return self.edges or (one,)

    @property
    def place(self) -> str:
        """Return host and port of each edge for people, an IPv6 address in brackets."""
        places = [(str(edge.address or edge.host), edge.port) for edge in self.edges] or [(self.host, self.port)]
        return " and ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places)

    def write(self, path: Path) -> None:
        """Write the card as JSON. The file appears complete, so that a waiting reader never sees a part of it."""
        begun = path.with_suffix(".begun")
        begun.unlink(missing_ok=True)
        # The mode is set at creation, so that there is no moment in which others could read the secret.
        with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
        begun.replace(path)


def read_card(path: Path) -> TrunkCard:
    """Read a card that `TrunkCard.write` wrote.

    Raises:
        InputError: the file is missing or is no card. The error lists everything that is wrong.
    """
    try:
        return TrunkCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            str(path), [Problem(where="file", what=f"cannot be read ({why_unreadable(error)})")]
        ) from error
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, e["loc"])) or "file", what=explain(e)) for e in error.errors()]
        raise InputError(str(path), problems) from None
