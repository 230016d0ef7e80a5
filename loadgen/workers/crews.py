"""Who places a run's calls: the process itself, or a team of worker processes. It decides that and nothing else."""

from __future__ import annotations

from pathlib import Path

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.schedule.share import check_divisible
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.workers.messages import Task
from trunkproof.loadgen.workers.placer import Crew, Placer
from trunkproof.loadgen.workers.pool import Team
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import Plan


def make_crew(
    plan: Plan,
    card: TrunkCard,
    target: Target,
    guard: Guard,
    workers: int,
    *,
    client_certificate: CertificateFiles | None,
    keylog: Path | None,
    trace: Trace | None,
) -> Crew:
    """This process, or a team of so many.

    Raises:
        InputError: so many workers cannot place this study's calls as it says; lists every reason.
    """
    check_divisible(plan.study, workers)
    if workers == 1:
        return Placer(plan, card, target, guard, client_certificate=client_certificate, keylog=keylog, trace=trace)
    if trace is not None:
        what = f"is written by one process, and there are {workers} workers: leave one of the two out"
        raise InputError("load", [Problem(where="--trace", what=what)])
    return Team(
        plan,
        Task(
            study=plan.study,
            workers=workers,
            card=card,
            target=target,
            allowed=tuple(sorted(guard.allowed)),
            client_certificate=client_certificate,
            keylog=keylog,
        ),
    )
