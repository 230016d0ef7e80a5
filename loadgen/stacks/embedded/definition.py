"""Define the embedded trunk as a stack."""

from __future__ import annotations

from trunkproof.loadgen.stacks.definition import StackDefinition
from trunkproof.models.errors import Problem
from trunkproof.models.study import Study


def unsupported(_: Study) -> list[Problem]:
    """Return nothing. It uses the same limits as the simulator, so it can play whatever can be predicted."""
    return []


EMBEDDED = StackDefinition("embedded", "the embedded trunk", unsupported, foreign=None)
