"""The commands `new`, `studies`, `notebooks` and `schema`: help to write a study, a request or an analysis."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from trunkproof.experiments.authoring.schema import FORMS, json_schema
from trunkproof.experiments.authoring.shipped import (
    first_comment,
    first_heading,
    shipped_notebook,
    shipped_notebooks,
    shipped_studies,
    shipped_study,
)
from trunkproof.experiments.authoring.writing import Values, new_load, new_request, new_study, write_new
from trunkproof.experiments.cli.app import Json, out, print_result
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.review.request_file import REQUEST
from trunkproof.models.errors import InputError, Problem, nearest
from trunkproof.models.forms import Form
from trunkproof.models.records import FarEnd
from trunkproof.models.study import STUDY

T = TypeVar("T")

news = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write a new file, commented and ready to run.")
app.add_typer(news, name="new", help="Write a new study or request, commented and ready to run.")
studies = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(studies, name="studies", help="List, show or copy the studies that are shipped.")
notebooks = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(notebooks, name="notebooks", help="List or copy the notebooks that are shipped.")

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file to write. It must not exist.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Calls per minute offered.", min=0)]
MeanHold = Annotated[float | None, typer.Option("--hold", metavar="SECONDS", help="Mean duration of a call.", min=0.1)]
Duration = Annotated[
    float | None, typer.Option("--duration", metavar="SECONDS", help="How long calls are placed.", min=1)
]


class _Questions:
    """Asks for what no option gave. Where nobody can answer, the default counts, and what has none is a mistake."""

    def __init__(self) -> None:
        self._missing: list[Problem] = []

    def ask(self, given: T | None, option: str, question: str, default: T | None, kind: Callable[[Any], T]) -> T:
        """Return what was given, or the answer, or the default."""
        if given is not None:
            return given
        if sys.stdin.isatty():
            answer: T = typer.prompt(question, default=default, type=kind, err=True)
            return answer
        if default is None:
            self._missing.append(Problem(where=option, what=f"is needed: {question[0].lower()}{question[1:]}"))
            return kind(0)
        return default

    def check(self, word: str) -> None:
        """Raise an error that names all options that are missing."""
        if self._missing:
            raise InputError(f"new {word}", self._missing)


@news.command("study")
def write_study(
    file: NewFile = Path("study.yaml"),
    *,
    rate: Rate = None,
    limit: Annotated[int | None, typer.Option(help="The throttle, in calls per minute.", min=1)] = None,
    hold: MeanHold = None,
    duration: Duration = None,
    as_json: Json = False,
) -> None:
    """Write a study of the documented trunk: to predict it, and to prove the prediction on this machine."""
    asked = _Questions()
    values = new_study(
        rate_per_minute=asked.ask(rate, "--rate", "Calls per minute that are offered", 300.0, float),
        limit=asked.ask(limit, "--limit", "The throttle, in calls per minute", 200, int),
        mean_hold_s=asked.ask(hold, "--hold", "Mean duration of a call, in seconds", 6.0, float),
        duration_s=asked.ask(duration, "--duration", "How long calls are placed, in seconds", 75.0, float),
    )
    _write(file, STUDY, values, ("plan {file}", "validate {file} --out out/{stem}"), as_json=as_json)


@news.command("load")
def write_load(
    file: NewFile = Path("load.yaml"),
    *,
    host: Annotated[str | None, typer.Option(help="The trunk's host name, as in its certificate.")] = None,
    account: Annotated[str | None, typer.Option(help="The account's name, as in the domain of From.")] = None,
    caller: Annotated[str | None, typer.Option(help="The Exophone to call as, in E.164.")] = None,
    number: Annotated[str | None, typer.Option(help="The number to dial, in E.164. No other is dialled.")] = None,
    far_end: Annotated[FarEnd | None, typer.Option(help="What answers at that number.")] = None,
    rate: Rate = None,
    hold: MeanHold = None,
    duration: Duration = None,
    as_json: Json = False,
) -> None:
    """Write a study for a load test of a trunk that somebody else runs."""
    asked = _Questions()
    values = new_load(
        host=asked.ask(host, "--host", "The trunk's host name, as in its certificate", None, str),
        account=asked.ask(account, "--account", "The account's name, as in the domain of From", None, str),
        caller=asked.ask(caller, "--caller", "The Exophone to call as, such as +918040001234", None, str),
        number=asked.ask(number, "--number", "The number to dial, such as +918040005555", None, str),
        far_end=asked.ask(far_end, "--far-end", f"What answers there: {', '.join(FarEnd)}", FarEnd.ECHO, FarEnd),
        rate_per_minute=asked.ask(rate, "--rate", "Calls per minute", 60.0, float),
        mean_hold_s=asked.ask(hold, "--hold", "Mean duration of a call, in seconds", 20.0, float),
        duration_s=asked.ask(duration, "--duration", "How long calls are placed, in seconds", 60.0, float),
    )
    asked.check("load")
    _write(file, STUDY, values, ("plan {file}", "load {file} --target HOST:PORT --ca CA.pem"), as_json=as_json)


@news.command("request")
def write_request(
    file: NewFile = Path("request.yaml"),
    *,
    history: Annotated[str | None, typer.Option(help="The customer's call history: a file, folder or pattern.")] = None,
    now: Annotated[int | None, typer.Option(help="The present throttle, in calls per minute.", min=1)] = None,
    requested: Annotated[int | None, typer.Option(help="The throttle that is asked for.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Write a request to raise a throttle. (`history inspect FILES --write` also recognises the history.)"""
    asked = _Questions()
    values = new_request(
        history=asked.ask(history, "--history", "The call history: a file, a folder or a pattern", None, str),
        now_per_minute=asked.ask(now, "--now", "The present throttle, in calls per minute", 200, int),
        requested_per_minute=asked.ask(requested, "--requested", "The throttle that is asked for", 400, int),
    )
    asked.check("request")
    _write(file, REQUEST, values, ("review {file} --out out/review",), as_json=as_json)


def _write(file: Path, form: Form[Any], values: Values, then: tuple[str, ...], *, as_json: bool) -> None:
    schema = write_new(file, form, values)

    def human() -> None:
        out.print(f"{file}, explained key by key; {schema} completes and checks it in an editor. Then:", markup=False)
        for command in then:
            out.print(f"  trunkproof {command.format(file=file, stem=file.stem)}", markup=False)

    print_result({"file": str(file), "schema": str(schema)}, human, as_json=as_json)


@studies.command("list")
def list_studies(*, as_json: Json = False) -> None:
    """List the studies, with what each is about."""
    _list({name: first_comment(path) for name, path in shipped_studies().items()}, as_json=as_json)


StudyName = Annotated[str, typer.Argument(metavar="NAME", help="Its name in `studies list`.", show_default=False)]


@studies.command("show")
def show_study(name: StudyName) -> None:
    """Print a study."""
    typer.echo(shipped_study(name).read_text(encoding="utf-8"), nl=False)


@studies.command("copy")
def copy_study(
    name: StudyName,
    to: Annotated[Path | None, typer.Argument(metavar="FILE", help="By default NAME.yaml here.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Copy a study, to change it."""
    _copy(shipped_study(name), to, "studies", as_json=as_json)


@notebooks.command("list")
def list_notebooks(*, as_json: Json = False) -> None:
    """List the notebooks, with what each is about."""
    _list({name: first_heading(path) for name, path in shipped_notebooks().items()}, as_json=as_json)


@notebooks.command("copy")
def copy_notebook(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in `notebooks list`.", show_default=False)],
    to: Annotated[Path | None, typer.Argument(metavar="FILE", help="By default NAME.ipynb here.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Copy a notebook, to run and change it in Jupyter."""
    _copy(shipped_notebook(name), to, "notebooks", as_json=as_json)


def _list(found: dict[str, str], *, as_json: bool) -> None:
    def human() -> None:
        width = max(map(len, found))
        for name, words in found.items():
            out.print(f"{name:{width}}  {words}", markup=False)

    print_result(found, human, as_json=as_json)


def _copy(source: Path, to: Path | None, command: str, *, as_json: bool) -> None:
    text, path = source.read_text(encoding="utf-8"), to or Path(source.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        problem = Problem(where=str(path), what=f"not written ({error.strerror})")
        raise InputError(f"{command} copy", [problem]) from error
    print_result({"file": str(path)}, lambda: out.print(str(path), markup=False), as_json=as_json)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar=f"[{'|'.join(FORMS)}]", help="The kind of file.", show_default=False)],
) -> None:
    """Print the JSON Schema of a study or a request, for editors."""
    if kind not in FORMS:
        raise InputError("schema", [Problem(where=kind, what=f"is no kind of file; {nearest(kind, FORMS)}")])
    typer.echo(json.dumps(json_schema(FORMS[kind]), indent=2))
