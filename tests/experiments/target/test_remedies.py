"""The table of remedies: complete, and asked by values of the right kind."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest

from trunkproof.experiments.target.remedies import Q850, PathFault, Status, Trouble, remedy_for
from trunkproof.loadgen.sip.offer_answer import SdpFault
from trunkproof.loadgen.tls.connection import ConnectFailure
from trunkproof.models.faults import AudioFault, CertificateFault, TlsAlert
from trunkproof.models.records import Disposition
from trunkproof.models.throttles.refused_as import THROTTLE_CAUSE

_NO_TROUBLE = {Disposition.COMPLETED, Disposition.STILL_UP, Disposition.ABANDONED}
_DOCUMENTED = (400, 401, 403, 404, 408, 415, 480, 484, 486, 488, 500, 502, 503, 504)
_KINDS: tuple[Iterable[Trouble], ...] = (
    Disposition, ConnectFailure, CertificateFault, TlsAlert, SdpFault, AudioFault, PathFault,
)  # fmt: skip


@pytest.mark.parametrize("trouble", [*chain(*_KINDS), *map(Status, _DOCUMENTED)], ids=repr)
def test_every_trouble_has_a_remedy(trouble: Trouble) -> None:
    """Every value that can be noted of a call has a meaning and an action; what is no trouble has none."""
    assert (remedy_for(trouble) is None) == (trouble in _NO_TROUBLE and isinstance(trouble, Disposition))


def test_the_first_known_trouble_counts() -> None:
    """A cause tells one 503 from another; an unknown cause leaves it to the status, and None is passed over."""
    throttled = remedy_for(None, Q850(THROTTLE_CAUSE), Status(503))
    assert throttled == remedy_for(Disposition.THROTTLED) != remedy_for(Status(503))
    assert remedy_for(Q850(126), Status(503), Disposition.CARRIER_REJECTED) == remedy_for(Status(503))
    assert remedy_for(Status(299)) is remedy_for(None) is remedy_for() is None


def test_words_that_two_kinds_share_are_told_apart() -> None:
    """`TlsAlert` 42 and cause 42 are equal numbers, and have different remedies."""
    assert remedy_for(TlsAlert(42)) != remedy_for(Q850(42))
