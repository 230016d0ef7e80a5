"""An address to serve on, as a user writes it: `8700`, `127.0.0.1:8700`, `[::1]:8700`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self

from trunkproof.models.errors import InputError, Problem

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """A host of this machine and a port. Port 0 chooses a free one."""

    host: str = LOOPBACK
    port: int = 0

    @classmethod
    def read(cls, text: str, option: str) -> Self:
        """Return the address that an option names. A bare port is on loopback.

        Raises:
            InputError: it is no address of that form.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if colon else LOOPBACK
        try:
            literal = str(ipaddress.ip_address(LOOPBACK if host == "localhost" else host))
            number = int(port)
            is_port = 0 <= number <= 65535
        except ValueError:
            is_port = False
        if not is_port:
            what = f"{text!r} is no address and port of this machine: write it as 127.0.0.1:8700, or only 8700"
            raise InputError("load", [Problem(where=option, what=what)])
        return cls(literal, number)

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
