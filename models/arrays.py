"""Names for the types of our NumPy arrays: one entry per call, period, packet or whatever the owner says.

The unit of an array is in the name of its variable. Types only: nothing is made or computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.uint8]
"""Members of an enumeration by their number, as in `models.columns`."""
MaskArray = NDArray[np.uint32]
"""One bit per disposition, as in `models.redials`."""
