"""Make the study that replays a controlled run: the same calls, at the instants at which they were asked for.

Each trunk's arrivals become `replay`, with the instant of every first attempt. Who calls whom, what becomes of each
call and who redials is drawn from the same streams as before, by the place of the call in the plan. A control changes
no order, so the replayed plan has the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trunkproof.loadgen.control import AppliedControl, ControlKind
from trunkproof.loadgen.schedule.tempo import Tempo
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.models.traffic import Arrivals, PoissonArrivals, ReplayedArrivals


def replayed_study(study: Study, controls: Sequence[AppliedControl]) -> Study:
    """Return the study whose plan has the calls that were asked for under these controls."""
    tempo = Tempo(change for applied in controls if (change := applied.change) is not None)
    stopped_s = min((one.at_s for one in controls if one.kind is ControlKind.STOP), default=math.inf)
    by_trunk: list[list[float]] = [[] for _ in study.trunks]
    for row in draw_plan(study).first_attempts():
        # What is still to come at the end of a paused run is infinite.
        if row.place_s is not None and (at_s := tempo.run_s(row.place_s)) < min(stopped_s, math.inf):
            by_trunk[row.trunk].append(at_s)
    trunks = []
    for trunk, instants_s in zip(study.trunks, by_trunk, strict=True):
        arrivals: Arrivals = PoissonArrivals(kind="poisson", rate_per_minute=0.0)
        if instants_s:
            arrivals = ReplayedArrivals(kind="replay", instants_s=tuple(instants_s))
        trunks.append(trunk.model_copy(update={"traffic": trunk.traffic.model_copy(update={"arrivals": arrivals})}))
    last_s = max((instants_s[-1] for instants_s in by_trunk if instants_s), default=0.0)
    # A call at the very end of the study would lie outside it.
    lasts_s = float(max(math.floor(last_s) + 1, *(math.ceil(one.at_s) for one in controls), 1))
    name = f"{study.name}, replayed"
    return study.model_copy(update={"name": name, "duration_s": lasts_s, "trunks": tuple(trunks)})
