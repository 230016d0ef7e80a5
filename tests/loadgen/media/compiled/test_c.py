"""Calling C by address."""

import numpy as np

from trunkproof.loadgen.media.compiled.c import call_c, functions
from trunkproof.models.compiled import lean


@lean
def _close_nothing(address: int) -> int:
    return call_c(address, (-1, 0, 8))


def test_what_c_returns_is_signed() -> None:
    # read(-1, NULL, 8): a bad file descriptor.
    assert _close_nothing(int(functions()["read"])) == -1


def test_all_addresses_are_known_and_different() -> None:
    addresses = np.array(list(functions()))
    assert (addresses > 0).all()
    assert len(set(addresses.tolist())) == len(addresses)
