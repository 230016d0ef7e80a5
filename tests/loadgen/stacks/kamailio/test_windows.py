import os

import pytest

from loadgen.stacks.kamailio.windows import windows_began
from models.errors import StackError


def test_a_kamailio_that_is_gone(study_of):
    with pytest.raises(StackError, match="gone"):
        windows_began(study_of(), {})
    with pytest.raises(StackError, match="gone"):
        windows_began(study_of(), {"kamailio": os.getpid()})  # has no such children
