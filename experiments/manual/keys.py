"""The pages of all keys of a study and of a request, from the schema that editors use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trunkproof.experiments.authoring.schema import FORMS, Schema, json_schema
from trunkproof.experiments.manual.markdown import table

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} letters",
    "maxLength": "at most {} letters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
}


def keys_page(word: str, introduction: str) -> str:
    """Return the page of one kind of file: a section for each object, a row for each of its keys."""
    schema = json_schema(FORMS[word])
    pieces = [f"# Every key of a {word}\n", introduction]
    for name, each in objects(schema):
        pieces.append(f"## {_title(name, each, word)} {{#{_anchor(name)}}}\n")
        if said := _description(each):
            pieces.append(f"{said}\n")
        if places := sorted(set(_places(name, schema))):
            pieces.append(f"At {', '.join(places)}.\n")
        required = each.get("required", ())
        rows = (
            (f"`{key}`", _description(node), *_values(node, schema, key in required))
            for key, node in each["properties"].items()
        )
        pieces.append(table(("key", "what it says", "values", "unit", "default"), rows))
    return "\n".join(pieces)


def objects(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the whole file and each of its objects, by name; the whole file's is empty."""
    yield "", schema
    yield from ((name, each) for name, each in schema["$defs"].items() if "properties" in each)


def _title(name: str, each: Schema, word: str) -> str:
    if not name:
        return f"The {word}"
    for key in ("policy", "kind"):
        if value := each["properties"].get(key, {}).get("const"):
            return f"`{key}: {value}`"
    return name


def _anchor(name: str) -> str:
    return name.lower() or "file"


def _description(node: Schema) -> str:
    return " ".join(str(node.get("description", "")).split())


def _places(name: str, schema: Schema) -> Iterator[str]:
    """Yield the keys under which an object may stand, each with a link to the object that it is a key of."""
    for owner, each in objects(schema):
        for key, node in each["properties"].items():
            if name and f'"#/$defs/{name}"' in json.dumps(_without_inner(node)):
                yield f"[`{key}`](#{_anchor(owner)})"


def _without_inner(node: Any) -> Any:
    """Return a node without the keys of objects that are written out within it."""
    if isinstance(node, dict):
        return {key: _without_inner(value) for key, value in node.items() if key != "properties"}
    return [_without_inner(value) for value in node] if isinstance(node, list) else node


def _values(node: Schema, schema: Schema, is_required: bool) -> tuple[str, str, str]:
    # What is an object itself has its defaults in its own section.
    default = node.get("default")
    is_shown = default is not None and "{" not in json.dumps(default)
    shown = "required" if is_required else f"`{json.dumps(default)}`" if is_shown else ""
    return _kind(node, schema), node.get("x-unit", ""), shown


def _kind(node: Schema, schema: Schema) -> str:  # noqa: PLR0911  # one return for each form of a schema
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        inner = schema["$defs"][name]
        return f"[{_title(name, inner, '')}](#{_anchor(name)})" if "properties" in inner else _kind(inner, schema)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    for together in ("anyOf", "oneOf"):
        if together in node and "properties" not in node:
            kinds = [_kind(each, schema) for each in node[together]]
            return " or ".join(dict.fromkeys(kind for kind in kinds if kind and kind != "nothing"))
    if node.get("type") == "array":
        inner = _kind(node.get("items", {}), schema)
        return f"list of {inner}{_bounds(node)}" if inner else f"list{_bounds(node)}"
    # Only the single trunk and the shared limit are written out within a key.
    if "properties" in node:
        return "a [Trunk](#trunk)" if "throttle" in node["properties"] else "`{shared: NAME}`"
    names = {"number": "number", "integer": "whole number", "string": "text", "boolean": "`true` or `false`"}
    kind = names.get(str(node.get("type")), "nothing" if node.get("type") == "null" else "")
    if node.get("type") == "object":
        inner = node.get("additionalProperties")
        kind = f"names, each with {_kind(inner, schema)}" if isinstance(inner, dict) else "keys and values"
    return f"{kind}{_bounds(node)}"


def _bounds(node: Schema) -> str:
    said = [words.format(node[key]) for key, words in _BOUNDS.items() if key in node]
    return f" ({', '.join(said)})" if said else ""
