"""The page of all commands: arguments, options, defaults and environment variables, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.main import get_command

from trunkproof.experiments.cli.root import app
from trunkproof.experiments.manual.markdown import cell, table

NAME = "trunkproof"
_ONLY_TO_CALL_IT = {"of": "review", "make": "history"}
"""Subcommands that need not be typed: `review REQUEST` is `review of REQUEST`."""


def walk() -> Iterator[tuple[str, Any, Any]]:
    """Yield each command that does something: its name as typed, the command, its context."""
    root = get_command(app)
    yield from _below(NAME, root, root.context_class(root, info_name=NAME, auto_envvar_prefix=NAME.upper()))


def _below(path: str, command: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command, context
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        inner = found.context_class(found, info_name=name, parent=context)
        yield from _below(path if name in _ONLY_TO_CALL_IT else f"{path} {name}", found, inner)


def commands_page() -> str:
    """Return the page of all commands with all options."""
    root = get_command(app)
    context = root.context_class(root, info_name=NAME, auto_envvar_prefix=NAME.upper())
    pieces = ["# Commands\n", INTRODUCTION, "## Options of every command\n", _table(root, context)]
    found = list(walk())
    pieces += ["## All commands\n"]
    pieces.append(
        table(("command", "what it does"), ((f"[`{path}`](#{_anchor(path)})", _first(each)) for path, each, _ in found))
    )
    for path, each, inner in found:
        arguments = " ".join(_metavar(one) for one in each.params if one.param_type_name == "argument")
        pieces += [f"## `{path}` {{#{_anchor(path)}}}\n", f"```text\n{path} {arguments} [OPTIONS]\n```\n"]
        pieces += [f"{cell(_help(each))}\n", _table(each, inner)]
    return "\n".join(pieces)


INTRODUCTION = """\
This page is made from the command line itself. `trunkproof COMMAND --help` says the same.
How a command ends is in [Exit codes](exit_codes.md), and what it leaves behind in [Result folders](results.md).
Each option can also be set by the environment variable beside it.
"""


def _anchor(path: str) -> str:
    return path.replace(" ", "-")


def _help(command: Any) -> str:
    return " ".join((command.help or "").split())


def _first(command: Any) -> str:
    return f"{_help(command).split('. ')[0].rstrip('.')}."


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _table(command: Any, context: Any) -> str:
    """Return one row for each argument and option."""
    rows = []
    for one in command.params:
        name = "/".join([*one.opts, *one.secondary_opts])
        if one.param_type_name == "argument":
            name = _metavar(one)
        elif one.metavar:
            name = f"{name} {one.metavar}"
        rows.append((f"`{name}`", one.help, _values(one), _variable(one, context)))
    return table(("argument or option", "what it does", "values and default", "environment"), rows)


def _values(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    parts = [", ".join(f"`{each.value}`" for each in kind)] if isinstance(kind, type(Enum)) else []
    parts += [f"at least {parameter.min:g}"] if parameter.min is not None else []
    parts += [f"at most {parameter.max:g}"] if parameter.max is not None else []
    default = parameter.default
    if parameter.required:
        parts.append("required")
    elif default not in (None, False, (), []) and not callable(default):
        parts.append(f"default `{getattr(default, 'value', default)}`")
    if parameter.multiple or parameter.nargs == -1:
        parts.append("may be repeated")
    return "; ".join(parts)


def _variable(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        return ""
    return f"`{parameter.envvar or f'{context.auto_envvar_prefix}_{parameter.name.upper()}'}`"
