"""Hosts as a study names them: a name or an address, with or without a port."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from trunkproof.models.settings import Settings

_NAME = r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+$"
PORT = Annotated[int, Field(ge=1, le=65535)]
HostName = Annotated[str, Field(pattern=_NAME, max_length=253)]


def is_host(word: str) -> bool:
    """Return whether a word is a host name or an IP address."""
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return re.match(_NAME, word) is not None
    return True


class HostAndPort(Settings):
    """A host and a port, written as `host:port`, `[IPv6 address]:port`, or without a port for the usual one."""

    host: Annotated[str, Field(max_length=253)]
    """A name or an address, without brackets."""
    port: PORT | None = None
    """None: the usual one of the transport."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, written: Any) -> Any:
        if not isinstance(written, str):
            return written
        found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(\d{1,5}))?", written.strip())
        if found is None:
            raise ValueError("write HOST:PORT, such as proxy.example.org:5061 or [::1]:5061")
        bracketed, host, port = found.groups()
        return {"host": bracketed or host or "", "port": None if port is None else int(port)}

    @model_validator(mode="after")
    def _is_a_host(self) -> Self:
        if not is_host(self.host):
            raise ValueError(f"{self.host!r} is neither a host name nor an address")
        return self

    def port_or(self, usual: int) -> int:
        """Return the port, or the usual one where none was written."""
        return self.port or usual

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"
