"""The command `bundle`: make a zip for the operator's support, of the calls that a run has captured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trunkproof.experiments.cli.app import Json, err, leave_with, out, print_result
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import check_result
from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.experiments.target.bundle.write import write_bundle
from trunkproof.models.errors import InputError, Problem


@app.command()
def bundle(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of a run with --capture.", show_default=False)
    ],
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Take the calls that failed.")] = False,
    call: Annotated[
        list[int] | None,
        typer.Option("--call", metavar="N", help="Take this call, by its number in the records; repeatable."),
    ] = None,
    slowest: Annotated[
        int,
        typer.Option(metavar="N", help="Take so many that waited longest for ringing or answer.", min=0),
    ] = 0,
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The zip to write.", show_default=False)],
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Leave numbers, keys and audio in it. Asks once more.")
    ] = False,
    yes_with_keys: Annotated[
        bool, typer.Option("--yes-with-keys", help="With --unmasked: do not ask once more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a zip for the operator's support, of the calls that a run has captured.

    Without --failed, --call and --slowest it takes all captured calls.
    """
    if unmasked and not yes_with_keys and not _confirmed():
        leave_with(ExitCode.WRONG_INPUT)
    which = CallChoice(failed=failed, calls=tuple(call or ()), slowest=slowest)
    check_result(folder)
    written = write_bundle(folder, out_file, which=which, masked=not unmasked)

    def human() -> None:
        for one in written.calls:
            ended = one["disposition"] or "no record"
            words = [one["name"], one["direction"], ended, one["began_local"], *one["call_ids"]]
            out.print("  ".join(words), markup=False)
        hidden = "numbers, keys and audio are masked" if written.masked else "NOT MASKED: it holds numbers and keys"
        out.print(f"Bundle: {written.path} ({hidden})", markup=False)

    value = {"path": str(written.path), "masked": written.masked, "calls": list(written.calls)}
    print_result(value, human, as_json=as_json)


def _confirmed() -> bool:
    """Ask whether secrets may go into the bundle.

    Raises:
        InputError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        what = "puts numbers, TLS secrets, SRTP keys and audio into the bundle: add --yes-with-keys if you mean it"
        raise InputError("bundle", [Problem(where="--unmasked", what=what)])
    err.print("The bundle will hold numbers, TLS secrets, SRTP keys and audio, for everybody who gets it.")
    return typer.confirm("Write it?", default=False, err=True)
