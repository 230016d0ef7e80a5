"""`history`: writes a call history whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments import console as shown
from experiments.cli.app import Json, app, err, out, print_result
from experiments.histories.generate import Generated, generate
from experiments.histories.truth import read_truth


@app.command()
def history(
    truth_file: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="What is true of the history: one YAML file.", show_default=False)
    ],
    *,
    file: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where to write it: .csv, .csv.gz or .parquet.", show_default=False),
    ],
    seed: Annotated[int | None, typer.Option(help="Roll other dice than the truth's.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Make a call history with known truth, to hold a review against."""
    truth = read_truth(truth_file)
    truth = truth if seed is None else truth.model_copy(update={"seed": seed})
    with shown.progress(err) as advance:
        generated = generate(truth, file, advance)
    print_result(generated.to_json(), lambda: out.print(summary(generated)), as_json=as_json)


def summary(generated: Generated) -> str:
    """What was written, for people."""
    share = generated.refused / generated.attempts if generated.attempts else 0.0
    lines = [
        f"{generated.path}: {generated.rows:,} rows, {generated.size_bytes / 1e6:,.1f} MB.",
        f"{generated.fresh_calls:,} fresh calls and {generated.redials:,} redials make {generated.attempts:,} "
        f"attempts; {generated.refused:,} of them ({100 * share:.2f} %) were refused by the throttle of the time "
        f"({generated.truth['throttle']}), and {generated.customers_lost:,} customers gave up after a refusal.",
        *_dirt_lines(generated),
        "To be found again:",
        *(f"  {name}: {value:g}" for name, value in generated.truth.items() if isinstance(value, int | float)),
    ]
    return "\n".join(lines)


def _dirt_lines(generated: Generated) -> list[str]:
    kinds = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in generated.dirty.items() if count]
    return [f"Rows with something wrong: {', '.join(kinds)}."] if kinds else []
