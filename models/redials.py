"""Who tries again: the rule of `Redial.chance`, applied to the callers of a plan.

A plan is drawn before it is known how an attempt ends. So each caller has one uniform number per attempt, and tries
again after every reason whose chance lies above it. A row of the plan keeps these reasons as a mask: one bit per
disposition. The same caller stays as patient as he is, whatever the throttle does to him. Both engines and the load
generator ask the mask, and nothing else.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.arrays import FloatArray, MaskArray
from trunkproof.models.columns import DISPOSITION_CODE
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Redial


def redial_masks(redial: Redial, attempt: int, uniforms: FloatArray) -> MaskArray:
    """Return after which endings of attempt number `attempt` (0: the first) each caller tries again.

    `uniforms` has one number in (0, 1) per caller; the masks have the same shape.
    """
    masks = np.zeros(len(uniforms), dtype=np.uint32)
    for reason, code in DISPOSITION_CODE.items():
        chance = redial.chance(reason, attempt)
        if chance > 0:
            masks |= (uniforms < chance).astype(np.uint32) << np.uint32(code)
    return masks


def tries_again(redial_after: int, disposition: Disposition) -> bool:
    """Tell whether the caller with this mask makes another attempt after one that ended so."""
    return bool(redial_after >> DISPOSITION_CODE[disposition] & 1)
