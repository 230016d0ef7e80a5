"""YAML text -> settings, such as a `Study`, with every mistake found in one go.

Each problem names the key's path as the user wrote it, its line, and for a misspelt key the nearest right one. The
settings themselves explain their values, as in `models.study` and `models.traffic`.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import Study

KeyPath = tuple[str | int, ...]
Written = dict[str, Any]
S = TypeVar("S", bound=BaseModel)
_LARGEST_BYTES = 4 * 2**20
_MOST_NODES = 1_000_000
"""Keys and values once every alias is written out: a few lines of aliases of aliases are otherwise billions."""
_AT_TOP = ("trunk", "traffic")
"""Keys that a study with a single trunk may write at the top instead of a list of `trunks`."""


def _unchanged(written: Written) -> Written:
    return written


def _same_path(path: KeyPath, written: Mapping[str, Any]) -> KeyPath:
    return path


@dataclass(frozen=True)
class Form(Generic[S]):
    """One kind of file: the settings that it is read into, and the short forms in which they may be written."""

    model: type[S]
    word: str
    """Its name in messages, such as `study`."""
    needs: str
    """The key that no such file can do without."""
    expand: Callable[[Written], Written] = _unchanged
    """Short forms -> what the model takes."""
    as_written: Callable[[KeyPath, Mapping[str, Any]], KeyPath] = _same_path
    """A path in what `expand` made -> the path in what the user wrote."""
    also_at_top: tuple[str, ...] = ()
    """Keys of short forms, for the hint on a misspelt one."""


def read_study(path: Path | str) -> Study:
    """Read a study from a YAML file.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    return read_form(path, _STUDY)


def parse_study(text: str, *, source: str = "study") -> Study:
    """Parse a study from YAML text; `source` names it in messages.

    Raises:
        InputError: as `read_study`.
    """
    return parse_form(text, _STUDY, source=source)


def read_settings(path: Path | str, model: type[S]) -> S:
    """Read settings that have no short forms; messages call the file by the name of their class.

    Raises:
        InputError: as `read_study`.
    """
    needed = (name for name, field in model.model_fields.items() if field.is_required() and name != "name")
    return read_form(path, Form(model, word=model.__name__.lower(), needs=next(needed, "name")))


def read_form(path: Path | str, form: Form[S]) -> S:
    """Read a file of that form; where its settings have a name and the file says none, it is the file's own.

    Raises:
        InputError: as `read_study`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(str(path), [Problem(where="file", what=f"larger than 4 MiB: this is no {form.word}")])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(str(path), [Problem(where="file", what=f"cannot be read ({error.strerror})")]) from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), [Problem(where="file", what="is not text in UTF-8")]) from error
    return parse_form(text, form, source=str(path), folder=path.parent)


def parse_form(text: str, form: Form[S], *, source: str, folder: Path = Path()) -> S:
    """Parse YAML text of that form; `source` names it in messages, and its stem is the default of a `name`.

    Files that the text names are relative to `folder`.

    Raises:
        InputError: as `read_study`.
    """
    root = _compose(text, source)
    if root is not None and _size(root, {}) > _MOST_NODES:
        raise InputError(source, [Problem(where="YAML", what="its aliases stand for more than can be read")])
    lines: dict[KeyPath, int] = {}
    problems = list(_index_lines(root, (), lines, form.word)) if root is not None else []
    if problems:
        raise InputError(source, problems)
    written = _construct(text, source)
    if not isinstance(written, dict):
        found = "is empty" if written is None else "has no keys"
        what = f"{found}; it needs at least `{form.needs}:`"
        raise InputError(source, [Problem(where=form.word, what=what, line=1)])
    named = {"name": Path(source).stem} if "name" in form.model.model_fields else {}
    try:
        return form.model.model_validate(form.expand(named | written), context={"folder": folder})
    except ValidationError as error:
        raise InputError(source, sorted(_problems(error, form, written, lines), key=lambda p: p.line or 0)) from None


def at_its_keys(error: InputError, path: Path | str) -> InputError:
    """Return the problems with the line of the key that each names, if the settings file at `path` has that key.

    For mistakes that only show once what the settings name is read, such as a column that the history has not.
    """
    try:
        root = _compose(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, InputError):
        return error
    lines: dict[KeyPath, int] = {}
    if root is not None:
        # Mistakes in the file itself were reported when it was read.
        list(_index_lines(root, (), lines, ""))
    named = {_dotted(key): line for key, line in lines.items() if key}
    problems = [_at_its_key(problem, named) for problem in error.problems]
    found = any(new is not old for new, old in zip(problems, error.problems, strict=True))
    return InputError(f"{path} ({error.source})" if found else error.source, problems)


def _at_its_key(problem: Problem, named: Mapping[str, int]) -> Problem:
    if problem.line is not None:
        return problem
    where = problem.where
    while where and where not in named:
        shorter = max(where.rfind("."), where.rfind("["))
        where = where[:shorter] if shorter > 0 else ""
    return replace(problem, line=named[where]) if where else problem


def _construct(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Such as a date that no calendar has.
        raise InputError(source, [Problem(where="YAML", what=str(error))]) from None


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise InputError(source, [Problem(where="YAML", what=str(error.problem or error), line=line)]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(source, [Problem(where="YAML", what=str(error))]) from None


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Return the number of nodes in and below this one. Infinite where an alias contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = [] if isinstance(node, yaml.ScalarNode) else inner
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _index_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], word: str) -> Iterator[Problem]:
    """Note the line of every key path; yield the mistakes that only the node tree shows."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _index_lines(item, (*path, index), lines, word)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield Problem(where=_dotted(path) or word, what="a key must be a plain word", line=line)
                continue
            here = (*path, key.value)
            if here in lines:
                yield Problem(where=_dotted(here), what=f"stands twice; first in line {lines[here]}", line=line)
            lines[here] = line
            yield from _index_lines(value, here, lines, word)


def _with_trunk_list(written: Written) -> Written:
    """Return the short form (`trunk:` and `traffic:` at the top) as the full one (`trunks:`)."""
    study = {key: value for key, value in written.items() if key not in _AT_TOP}
    if "trunks" in written:
        # Left in, so that pydantic names them as keys that do not belong beside `trunks`.
        return study | {key: written[key] for key in _AT_TOP if key in written}
    trunk = written.get("trunk") or {}
    if isinstance(trunk, dict) and "traffic" in written:
        trunk = trunk | {"traffic": written["traffic"]}
    return study | {"trunks": [trunk]}


def _as_written(path: KeyPath, written: Mapping[str, Any]) -> KeyPath:
    if "trunks" in written or path[:2] != ("trunks", 0):
        return path
    inner = path[2:]
    in_trunk = isinstance(written.get("trunk"), dict) and inner[:1] and inner[0] in written["trunk"]
    return inner if inner[:1] == ("traffic",) and not in_trunk else ("trunk", *inner)


_STUDY = Form(
    Study, word="study", needs="traffic", expand=_with_trunk_list, as_written=_as_written, also_at_top=_AT_TOP
)


def _problems(
    error: ValidationError, form: Form[S], written: Mapping[str, Any], lines: Mapping[KeyPath, int]
) -> Iterator[Problem]:
    details = error.errors(include_url=False)
    for detail in details:
        loc = tuple(detail["loc"])
        if detail["type"] == "too_short" and any(loc == other["loc"][: len(loc)] != other["loc"] for other in details):
            continue  # Only the items that are wrong themselves are missing from the list.
        path = form.as_written(_without_tags(loc, form.model), written)
        known = [*_fields_at(loc[:-1], form.model), *(form.also_at_top if len(loc) == 1 else ())]
        yield Problem(where=_dotted(path) or form.word, what=_explain(detail, known), line=_nearest_line(path, lines))


def _explain(detail: Mapping[str, Any], known: list[str]) -> str:
    """Return the problem in words. `known` has the keys that are allowed there."""
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        tags = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
        near = difflib.get_close_matches(str(context["tag"]), tags, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(tags)}"
        return f"unknown {context['discriminator'].strip(chr(39))} `{context['tag']}`; {hint}"
    if kind == "union_tag_not_found":
        return f"needs a key {detail['ctx']['discriminator']} that says which kind it is"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    is_scalar = isinstance(given, str | int | float | bool)
    return f"{message}, not {given!r}" if is_scalar and kind != "value_error" else message


def _nearest_line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    while path and path not in lines:
        path = path[:-1]
    return lines[path] if path else None


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _without_tags(loc: KeyPath, model: type[BaseModel]) -> KeyPath:
    """Return a pydantic location without the tags of discriminated unions, which the user never wrote."""
    path: list[str | int] = []
    here: list[Any] = [model]
    for part in loc:
        is_tag, here = _step(here, part)
        if not is_tag:
            path.append(part)
    return tuple(path)


def _fields_at(loc: KeyPath, model: type[BaseModel]) -> list[str]:
    here: list[Any] = [model]
    for part in loc:
        _, here = _step(here, part)
    return [name for model in _models(here) for name in model.model_fields]


def _step(here: list[Any], part: str | int) -> tuple[bool, list[Any]]:
    """Follow one part of a location: (it was a union's tag, the types it leads to)."""
    candidates = _models(here)
    if isinstance(part, int):
        return False, [inner for kind in _members(here) for inner in _arguments(kind)]
    mapped = [typing.get_args(kind)[1] for kind in _members(here) if typing.get_origin(kind) is Mapping]
    if mapped:
        return False, mapped  # a key that the user has chosen
    fields = [model.model_fields[part] for model in candidates if part in model.model_fields]
    if fields:
        return False, [field.annotation for field in fields]
    tagged = [model for model in candidates if part in _tags(model)]
    return bool(tagged), list(tagged)


def _models(kinds: list[Any]) -> list[type[BaseModel]]:
    return [kind for kind in _members(kinds) if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _members(kinds: list[Any]) -> Iterator[Any]:
    """Yield types, and in place of each union or alias those that it stands for."""
    for kind in kinds:
        if typing.get_origin(kind) in {typing.Union, types.UnionType, typing.Annotated}:
            yield from _members(_arguments(kind))
        elif isinstance(kind, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
            yield from _members([kind.__value__])
        else:
            yield kind


def _arguments(kind: Any) -> list[Any]:
    inner = typing.get_args(kind)
    return list(inner[:1]) if typing.get_origin(kind) is typing.Annotated else list(inner)


def _tags(model: type[BaseModel]) -> set[str]:
    return {
        tag
        for name in ("kind", "policy")
        if name in model.model_fields
        for tag in typing.get_args(model.model_fields[name].annotation)
    }
