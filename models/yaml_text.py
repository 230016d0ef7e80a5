"""YAML text -> plain values, read as people mean it, and the line of every key.

YAML 1.1 takes `0200` for 128, `1:30` for 90 and `no` for false. PyYAML does so by default. Here scalars are resolved by
the core schema of YAML 1.2 (section 10.3.2): `0200` is 200, `0o200` is 128, and `no` and `1:30` are text. Merge keys
(`<<`) work, as in most programs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.key_paths import KeyPath, dotted

_MOST_NODES = 1_000_000
"""Keys and values once every alias is written out: a few lines of aliases of aliases are otherwise billions."""
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "merge": (r"<<", "<"),
    "null": (r"null|Null|NULL|~|", "nN~"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""What a plain scalar means: its form, and the characters that it can begin with. The first form that fits counts."""


class _CoreLoader(yaml.SafeLoader):
    """Resolves plain scalars by the core schema, and knows no tags beyond it."""


# In the class itself mypy takes them for instance variables.
_CoreLoader.yaml_implicit_resolvers = {}
_CoreLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in {"null", "bool", "str", "seq", "map"}
}


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    # Base 0 refuses `0200`, which is a decimal number here.
    return int(text, 0 if text[:2] in {"0o", "0x"} else 10)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"\.(?=[inIN])", "", str(loader.construct_scalar(node))))


_CoreLoader.add_constructor(f"{_TAG}int", _construct_int)
_CoreLoader.add_constructor(f"{_TAG}float", _construct_float)
for _name, (_form, _first) in _SCALARS.items():
    _CoreLoader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"^(?:{_form})$"), list(_first))
# An empty scalar has no first character. PyYAML files it under the empty string.
_CoreLoader.add_implicit_resolver(f"{_TAG}null", re.compile(r"^$"), [""])


@dataclass(frozen=True)
class YamlText:
    """The values of a YAML text, and where its keys stand."""

    value: Any
    """None for an empty text."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """The 1-based line of every key path. `()` is the whole text."""

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of that key, or of the nearest one above it that is written. None where none is."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines[path] if path else None


def read_yaml(text: str, *, source: str, word: str) -> YamlText:
    """Read YAML text. `source` names it in messages, and `word` says what it is, such as `study`.

    Raises:
        InputError: it is not YAML, a key stands twice, or its aliases stand for too much.
    """
    root = _compose(text, source)
    if root is None:
        return YamlText(None)
    if _size(root, {}) > _MOST_NODES:
        raise InputError(source, [Problem(where="YAML", what="its aliases stand for more than can be read")])
    lines: dict[KeyPath, int] = {}
    if problems := list(_index_lines(root, (), lines, word)):
        raise InputError(source, problems)
    try:
        return YamlText(yaml.load(text, Loader=_CoreLoader), lines)  # A SafeLoader with fewer tags.
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, source) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(source, [Problem(where="YAML", what=str(error))]) from None


def read_scalar(text: str) -> Any:
    """Read one value as it would stand behind a key: a number, a word, or a list or mapping in flow style.

    Raises:
        InputError: it is not YAML.
    """
    return read_yaml(text, source=text, word="value").value


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, source) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(source, [Problem(where="YAML", what=str(error))]) from None


def _unreadable(error: yaml.MarkedYAMLError, source: str) -> InputError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    return InputError(source, [Problem(where="YAML", what=str(error.problem or error), line=line)])


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
                yield Problem(where=dotted(path) or word, what="a key must be a plain word", line=line)
                continue
            here = (*path, key.value)
            if here in lines:
                yield Problem(where=dotted(here), what=f"stands twice; first in line {lines[here]}", line=line)
            lines[here] = line
            yield from _index_lines(value, here, lines, word)
