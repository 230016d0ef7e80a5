"""How much the fuzz suite does: the environment variable TRUNKPROOF_FUZZ, read in one place for all its tests.

The variable is the number of SIP messages of one run. Other kinds of input cost more each, so they take a part of it:
`amount(10)` is a tenth. Without the variable a run takes seconds. `make fuzz` asks for ten million, which takes hours.

The seed of a run is in TRUNKPROOF_FUZZ_SEED. It is 1 by default, so that every run of the suite is the same run.
"""

from __future__ import annotations

import os

DEFAULT_MESSAGES = 30_000
SEED = int(os.environ.get("TRUNKPROOF_FUZZ_SEED", "1"))


def amount(one_in: int = 1) -> int:
    """Return how many inputs to try: the asked number of messages, or one in so many of it. At least 1."""
    return max(1, int(os.environ.get("TRUNKPROOF_FUZZ", DEFAULT_MESSAGES)) // one_in)
