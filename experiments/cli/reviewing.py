"""The command `review`: decide on a request to raise a throttle; `review score`: compare what came with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import (
    EngineName,
    FileFirst,
    Json,
    Out,
    command_line,
    err,
    folder_at,
    leave_with,
    out,
    print_result,
)
from trunkproof.experiments.cli.invocation import current_invocation
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.report.chromium import ChromiumError
from trunkproof.experiments.report.paper import write_pictures
from trunkproof.experiments.report.review_page import write_review_page
from trunkproof.experiments.report.review_summary import SUMMARY, summary
from trunkproof.experiments.review.decision_json import DECISION, read_decision, to_json, write_decision
from trunkproof.experiments.review.request_file import REQUEST
from trunkproof.experiments.review.result import Decision, Review
from trunkproof.experiments.review.review import review as answer
from trunkproof.experiments.review.score.score import score as score_history
from trunkproof.experiments.review.sweep.cluster import executor_at
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.demand.history.reading import read_history

PAGE, PAPER, PICTURE = "report.html", "report.pdf", "report.png"
CODES = {
    Decision.APPROVE: ExitCode.OK,
    Decision.APPROVE_LOWER: ExitCode.APPROVE_LOWER,
    Decision.REFUSE: ExitCode.REFUSE,
    Decision.NOT_NEEDED: ExitCode.NOT_NEEDED,
    Decision.CANNOT_TELL: ExitCode.CANNOT_TELL,
}


class RequestFirst(FileFirst):
    """Reads `review REQUEST` as `review of REQUEST`."""

    meant = "of"


reviews = typer.Typer(
    cls=RequestFirst,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    subcommand_metavar="REQUEST | score REQUEST",
    help="Decide on a request to raise a throttle, from the customer's call history.",
)
app.add_typer(reviews, name="review")

RequestFile = Annotated[Path, typer.Argument(metavar="REQUEST", help="A request: one YAML file.", show_default=False)]


@reviews.command(RequestFirst.meant)
def decide(
    request_file: RequestFile,
    *,
    out_dir: Out,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Simulate on the workers of this Dask scheduler.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine; by default one per core.", min=1)
    ] = None,
    engine: EngineName = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also write report.pdf: the page's first part on one A4.")] = False,
    png: Annotated[bool, typer.Option("--png", help="Also write report.png: the first screen of the page.")] = False,
    in_short: Annotated[
        bool, typer.Option("--summary", help="Print ten lines for a mail, and write them to summary.txt.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decide on a request and write decision.json and report.html into DIR (the word `of` may be left out)."""
    request, folder = current_invocation().read(request_file, REQUEST), folder_at(out_dir, fresh=True).path
    if engine is not None:
        request = request.model_copy(update={"engine": engine})
    with executor_at(cluster, workers) as executor, shown.progress(err) as advance:
        try:
            found = answer(request, request_file.parent, executor=executor, advance=advance, command=command_line())
        except KeyboardInterrupt:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    write_decision(found, folder)
    write_review_page(found, folder / PAGE)
    if in_short:
        write_text(folder / SUMMARY, summary(found))
    missing = _pictures(folder, pdf=pdf, png=png)
    say = (lambda: typer.echo(summary(found), nl=False)) if in_short else (lambda: _print(found, folder))
    print_result(to_json(found), say, as_json=as_json)
    if missing is not None:
        err.print(missing, markup=False)
    leave_with(CODES[found.decision])


@reviews.command()
def score(
    request_file: RequestFile,
    *,
    decision: Annotated[
        Path, typer.Option("--decision", metavar="FILE", help="The review's decision.json.", show_default=False)
    ],
    history: Annotated[
        Path, typer.Option("--history", metavar="FILE", help="The history since the raise.", show_default=False)
    ],
    per_minute: Annotated[
        int | None, typer.Option(help="The throttle in force; the first step of the rollout by default.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the history since a raise with what its review forecast."""
    request = current_invocation().read(request_file, REQUEST)
    saved = read_decision(decision)
    # `since`, `until` and `closed` belong to the old history: they say nothing about the new one.
    settings = request.history.model_copy(update={"path": history, "since": None, "until": None, "closed": ()})
    scored = score_history(saved, read_history(settings), request, per_minute=per_minute)
    print_result(scored.to_json(), lambda: out.print(scored.said, markup=False), as_json=as_json)


def _pictures(folder: Path, *, pdf: bool, png: bool) -> str | None:
    """Write the pictures asked for. Return why they are missing, where there is no browser."""
    if not (pdf or png):
        return None
    try:
        write_pictures(folder / PAGE, pdf=folder / PAPER if pdf else None, png=folder / PICTURE if png else None)
    except (ChromiumError, OSError) as error:
        names = " and ".join(name for name, wanted in ((PAPER, pdf), (PICTURE, png)) if wanted)
        return f"No {names}: {error}. The review itself is complete."
    return None


def _print(found: Review, folder: Path) -> None:
    out.print(found.headline, markup=False)
    for reason in found.reasons:
        out.print(f"- {reason}", markup=False)
    out.print(f"Decision: {folder / DECISION}", markup=False)
    out.print(f"Page: {folder / PAGE}", markup=False)
