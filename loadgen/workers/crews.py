"""Who places a run's calls: the process itself, or a team of worker processes. It decides that and nothing else."""

from __future__ import annotations

from pathlib import Path

from loadgen.certificates import CertificateFiles
from loadgen.guard import Guard, Target
from loadgen.placing import Crew, Placer
from loadgen.sip.trace import Trace
from loadgen.stacks.card import TrunkCard
from loadgen.workers.share import check_divisible
from loadgen.workers.task import Task
from loadgen.workers.team import Team
from models.errors import InputError, Problem
from models.plan import Plan


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
