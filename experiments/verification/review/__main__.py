"""`python -m trunkproof.experiments.verification.review --out DIR [--quick]`: examine the review from outside.

Each examination is a line of `results.jsonl`. Examinations that are in the file already are not repeated.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import as_completed
from pathlib import Path
from typing import Annotated

import typer

from trunkproof.experiments.cli.app import Out, err, folder_at, out
from trunkproof.experiments.common.exit_codes import exit_code_of
from trunkproof.experiments.verification.review.examine import Result, examine
from trunkproof.experiments.verification.review.kinds import KINDS
from trunkproof.experiments.verification.review.score import score
from trunkproof.experiments.verification.review.tables import TABLE, markdown, write_scores
from trunkproof.models.errors import InputError, Problem, TrunkproofError
from trunkproof.simulator.replicate import processes

RESULTS = "results.jsonl"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def examination(
    *,
    out_dir: Out,
    kinds: Annotated[str, typer.Option(help="Kinds of history, separated by commas; all by default.")] = "",
    seeds: Annotated[int, typer.Option(help="Histories of each kind.", min=1)] = 25,
    first_seed: Annotated[int, typer.Option(help="Seed of the first history; the others follow.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1, max=64)] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="One history of each kind: shows only that it works.")] = False,
) -> None:
    """Review histories of known truth, made by mechanisms that the fit does not assume, and score the answers."""
    folder, chosen = folder_at(out_dir).path, _chosen(kinds)
    wanted = [(kind, first_seed + seed) for seed in range(1 if quick else seeds) for kind in chosen]
    results = _read(folder / RESULTS)
    missing = [pair for pair in wanted if pair not in results]
    with (folder / RESULTS).open("a", encoding="utf-8") as lines, processes(workers) as executor:
        for future in as_completed([executor.submit(examine, *pair) for pair in missing]):
            result = future.result()
            results[result["kind"], result["seed"]] = result
            lines.write(json.dumps(result) + "\n")
            lines.flush()
            err.print(_said(result, f"{len(results)} of {len(wanted)}"), markup=False)
    command = "python -m trunkproof.experiments.verification.review " + " ".join(sys.argv[1:])
    scores = score(results[pair] for pair in sorted(wanted, key=lambda pair: (chosen.index(pair[0]), pair[1])))
    write_scores(scores, folder, command)
    out.print(markdown(scores, command), markup=False)
    out.print(f"Table: {folder / TABLE}", markup=False)


def _chosen(kinds: str) -> list[str]:
    names = [name.strip() for name in kinds.split(",") if name.strip()] or list(KINDS)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        known = ", ".join(KINDS)
        raise InputError("--kinds", [Problem(where=name, what=f"is no kind; known: {known}") for name in unknown])
    return names


def _read(path: Path) -> dict[tuple[str, int], Result]:
    """Read the results of earlier runs. A last line that was cut off is skipped."""
    results: dict[tuple[str, int], Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            continue
        results[result["kind"], result["seed"]] = result
    return results


def _said(result: Result, place: str) -> str:
    answer, spent = result["answer"], result["seconds"]
    words = f"{answer['decision']} {answer['recommended'] or ''}" if answer else f"FAILED {result['error']}"
    return f"{place}  {result['kind']} {result['seed']}: {words}  ({spent['review']:.0f} s + {spent['truth']:.0f} s)"


def main() -> None:
    """Run the command. A user's mistake ends in a message, not in a traceback."""
    try:
        app()
    except TrunkproofError as error:
        err.print(str(error), markup=False)
        sys.exit(exit_code_of(error))


if __name__ == "__main__":
    main()
