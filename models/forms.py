"""YAML text -> settings of any form, such as a study or a request, with every mistake found in one go.

Each problem names the key's path as the user wrote it, its line, and for a misspelt key the nearest right one. The
settings themselves explain their values, as in `models.study` and `models.traffic`.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.key_paths import KeyPath, dotted, key_path, with_value_at
from trunkproof.models.settings import WrongTogetherError
from trunkproof.models.yaml_text import YamlText, read_yaml

Written = dict[str, Any]
S = TypeVar("S", bound=BaseModel)
_LARGEST_BYTES = 4 * 2**20


_MUST_BE = {
    ("int_type", "int_from_float", "int_parsing"): "must be a whole number",
    ("float_type", "float_parsing"): "must be a number",
    ("finite_number",): "must be a finite number",
    ("bool_type", "bool_parsing"): "must be true or false",
    ("string_type",): "must be text; put a number in quotes",
    ("string_pattern_mismatch",): "must match {pattern}",
    ("string_too_short",): "must have at least {min_length} characters",
    ("string_too_long",): "must have at most {max_length} characters",
    ("list_type", "tuple_type"): "must be a list",
    ("model_type", "model_attributes_type", "dict_type", "mapping_type"): "must have keys of its own",
    ("greater_than",): "must be more than {gt:.12g}",
    ("greater_than_equal",): "must be at least {ge:.12g}",
    ("less_than",): "must be less than {lt:.12g}",
    ("less_than_equal",): "must be at most {le:.12g}",
    ("literal_error", "enum"): "must be {expected}",
    ("too_short",): "needs at least {min_length} item(s)",
    ("too_long",): "may have at most {max_length} item(s)",
    ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"): (
        "must be a date, such as 2026-01-31"
    ),
    ("ip_any_address",): "must be an IP address, such as 127.0.0.2",
    ("ip_any_network",): "must be an IP address or network, such as 127.0.0.0/30",
    ("path_type", "is_instance_of"): "must be the path of a file",
}
"""Kinds of Pydantic's errors -> our words. Its own name Python's types, which no user of a study need know."""

_WHOLE = {"missing": "is missing", "json_invalid": "is not JSON"}
"""The same for what need not be quoted."""


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


def read_settings(path: Path | str, model: type[S]) -> S:
    """Read settings that have no short forms; messages call the file by the name of their class.

    Raises:
        InputError: as `read_form`.
    """
    needed = (name for name, field in model.model_fields.items() if field.is_required() and name != "name")
    return read_form(path, Form(model, word=model.__name__.lower(), needs=next(needed, "name")))


def read_form(path: Path | str, form: Form[S], *, changes: Mapping[KeyPath, Any] = MappingProxyType({})) -> S:
    """Read a file of that form; where its settings have a name and the file says none, it is the file's own.

    `changes` gives keys, as the user writes them, another value than the file does.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(str(path), [Problem(where="file", what=f"larger than 4 MiB: this is no {form.word}")])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            str(path), [Problem(where="file", what=f"cannot be read ({why_unreadable(error)})")]
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(str(path), [Problem(where="file", what="is not text in UTF-8")]) from error
    return parse_form(text, form, source=str(path), folder=path.parent, changes=changes)


def parse_form(
    text: str,
    form: Form[S],
    *,
    source: str,
    folder: Path = Path(),
    changes: Mapping[KeyPath, Any] = MappingProxyType({}),
) -> S:
    """Parse YAML text of that form; `source` names it in messages, and its stem is the default of a `name`.

    Files that the text names are relative to `folder`. `changes` gives keys, as the user writes them, another value.

    Raises:
        InputError: as `read_form`.
    """
    yaml = read_yaml(text, source=source, word=form.word)
    if not isinstance(yaml.value, dict):
        found = "is empty" if yaml.value is None else "has no keys"
        what = f"{found}; it needs at least `{form.needs}:`"
        raise InputError(source, [Problem(where=form.word, what=what, line=1)])
    named = {"name": Path(source).stem} if "name" in form.model.model_fields else {}
    return validate_form(named | yaml.value, form, source=source, changes=changes, yaml=yaml, folder=folder)


def validate_form(
    written: Written,
    form: Form[S],
    *,
    source: str,
    changes: Mapping[KeyPath, Any],
    yaml: YamlText | None = None,
    folder: Path = Path(),
) -> S:
    """Return the settings that values in a file's form mean. `yaml` knows the lines of their keys.

    Raises:
        InputError: they say something impossible; lists all problems.
    """
    written = _changed(written, changes, source)
    yaml = YamlText(written) if yaml is None else yaml
    try:
        return form.model.model_validate(form.expand(written), context={"folder": folder})
    except ValidationError as error:
        problems = _problems(error, form, written, yaml, changes)
        raise InputError(source, sorted(problems, key=lambda problem: problem.line or 0)) from None


def _changed(written: Written, changes: Mapping[KeyPath, Any], source: str) -> Written:
    problems = []
    for path, value in changes.items():
        try:
            written = with_value_at(written, path, value)
        except ValueError as error:
            problems.append(Problem(where=dotted(path), what=str(error)))
    if problems:
        raise InputError(source, problems)
    return written


def _is_within(path: KeyPath, changes: Mapping[KeyPath, Any]) -> bool:
    return any(path[: len(changed)] == changed for changed in changes)


def at_its_keys(
    error: InputError, path: Path | str, form: Form[Any], *, changes: Mapping[KeyPath, Any] = MappingProxyType({})
) -> InputError:
    """Return the problems at the keys as the user wrote them in the file at `path`, each with its line.

    For mistakes that only show once what the settings name is read, or a stack is asked to play them. Problems that
    name no key of the file stay as they are, and so does what is wrong with the file itself.
    """
    if error.source == str(path):
        return error
    try:
        yaml = read_yaml(Path(path).read_text(encoding="utf-8"), source=str(path), word=form.word)
    except (OSError, UnicodeDecodeError, InputError):
        return error
    problems = [_at_its_key(problem, form, yaml, changes) for problem in error.problems]
    found = any(new is not old for new, old in zip(problems, error.problems, strict=True))
    return InputError(f"{path} ({error.source})" if found else error.source, problems)


def _at_its_key(problem: Problem, form: Form[Any], yaml: YamlText, changes: Mapping[KeyPath, Any]) -> Problem:
    try:
        path = form.as_written(key_path(problem.where), yaml.value)
    except ValueError:
        return problem
    line = yaml.line_of(path)
    if problem.line is not None or (line is None and not _is_within(path, changes)):
        return problem
    return replace(problem, where=dotted(path), line=None if _is_within(path, changes) else line)


def _problems(
    error: ValidationError,
    form: Form[S],
    written: Mapping[str, Any],
    yaml: YamlText,
    changes: Mapping[KeyPath, Any],
) -> Iterator[Problem]:
    details = error.errors(include_url=False)
    for detail in details:
        loc = tuple(detail["loc"])
        if detail["type"] == "too_short" and any(loc == other["loc"][: len(loc)] != other["loc"] for other in details):
            continue  # Only the items that are wrong themselves are missing from the list.
        cause = detail.get("ctx", {}).get("error")
        inner = key_path(cause.key) if isinstance(cause, WrongTogetherError) else ()
        path = form.as_written((*_without_tags(loc, form.model), *inner), written)
        known = [*_fields_at(loc[:-1], form.model), *(form.also_at_top if len(loc) == 1 else ())]
        line = None if _is_within(path, changes) else yaml.line_of(path)
        yield Problem(where=dotted(path) or form.word, what=explain(detail, known), line=line)


def explain(detail: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """Return one of Pydantic's problems in words. `known` has the keys that are allowed there."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind in _WHOLE:
        return _WHOLE[kind]
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        tags = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
        near = difflib.get_close_matches(str(context["tag"]), tags, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(tags)}"
        return f"unknown {context['discriminator'].strip(chr(39))} `{context['tag']}`; {hint}"
    if kind == "union_tag_not_found":
        key = detail["ctx"]["discriminator"].strip("'")
        return f"needs a key `{key}` that says which kind it is"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    words = next((words for kinds, words in _MUST_BE.items() if kind in kinds), None)
    # Pydantic writes the words that may be chosen in Python's quotes.
    what = words.format(**detail.get("ctx", {})).replace("'", "`") if words else str(detail["msg"])
    return what + _not_this(detail.get("input"), what)


def _not_this(given: Any, what: str) -> str:
    """Return the refused value as it stands in the file, if it is a scalar."""
    if given is None or isinstance(given, bool):
        return f", not `{ {None: 'null', True: 'true', False: 'false'}[given] }`"
    if isinstance(given, str):
        # Without the word, the text "200" would be refused as if it were the number.
        return f", not {'the text ' if ' number' in what else ''}`{given}`"
    return f", not `{given}`" if isinstance(given, int | float) else ""


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
