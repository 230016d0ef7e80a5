from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from trunkproof.loadgen.stacks.kamailio.windows import windows_began
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study


def test_a_kamailio_that_is_gone(study_of: Callable[..., Study]) -> None:
    with pytest.raises(StackError, match="has ended"):
        windows_began(study_of(), {})
    with pytest.raises(StackError, match="has ended"):
        windows_began(study_of(), {"kamailio": os.getpid()})  # has no such children
