import dataclasses
import socket
from pathlib import Path

import pytest

from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.tls.certificates import CertificateFiles


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.60.7"])
def test_a_free_port_can_be_listened_on_at_once(address: str) -> None:
    port = free_port(address)
    with socket.create_server((address, port)) as listener:
        assert listener.getsockname() == (address, port)


def test_a_port_that_is_taken_is_not_given() -> None:
    with socket.create_server(("127.0.60.7", 0)) as listener:
        taken = listener.getsockname()[1]
        assert taken not in {free_port("127.0.60.7") for _ in range(200)}


def test_an_address_of_another_machine_has_no_ports_here() -> None:
    with pytest.raises(OSError, match="assign"):
        free_port("203.0.113.7")  # RFC 5737: never anyone's address


def test_places_do_not_move() -> None:
    files = CertificateFiles(Path("a.pem"), Path("a.key"))
    places = StackEndpoints(Path("out"), 1, 2, 3, files, Path("ca.pem"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        places.edge_port = 4  # type: ignore[misc]
