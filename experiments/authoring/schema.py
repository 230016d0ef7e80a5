"""The JSON Schema of a study or a request: what an editor completes, explains and checks while one is written.

It is made from the models that read the file, so it cannot differ from them. What the short forms of a file add stands
here. Values that depend on each other, such as shares that add up to more than 1, are checked when the file is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from trunkproof.experiments.review.request_file import REQUEST
from trunkproof.models.forms import Form
from trunkproof.models.study import STUDY
from trunkproof.models.throttles.policy import SHARED_NAME

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FORMS: dict[str, Form[Any]] = {form.word: form for form in (STUDY, REQUEST)}
"""The kinds of file that a user writes, by name."""
Schema = dict[str, Any]


def json_schema(form: Form[Any]) -> Schema:
    """Return the JSON Schema of that kind of file, with a description of each key."""
    schema = _schema_of(form.model)
    _add_units(schema)
    for _, key in _keys(schema, "throttle"):
        key["anyOf"] = [{name: key.pop(name) for name in ("discriminator", "oneOf") if name in key}, _SHARED]
    for _, key in _keys(schema, "limits"):
        key["items"] = {"anyOf": [key["items"], _SHARED]}
    # A file without a name has its own.
    schema["required"] = [key for key in schema.get("required", ()) if key != "name"]
    if form is STUDY:
        _allow_one_trunk(schema)
    if form is REQUEST:
        history = schema["properties"]["history"]
        description = history.pop("description")
        file = {"type": "string", "description": "The path of the history: short for `history: {path: ...}`."}
        schema["properties"]["history"] = {"description": description, "anyOf": [history, file]}
    return {"$schema": DIALECT, "title": f"trunkproof {form.word}"} | schema


_SHARED: Schema = {
    "type": "object",
    "description": "A limit that trunks share, by its name in `pop.throttles`.",
    "properties": {"shared": {"type": "string", "pattern": SHARED_NAME, "description": "Its name."}},
    "required": ["shared"],
    "additionalProperties": False,
}
_UNITS = {
    "_mbit_per_s": "Mbit/s",
    "_per_minute": "calls per minute",
    "_ms": "milliseconds",
    "_ms_max": "milliseconds",
    "_s": "seconds",
    "_share": "a share, 0 to 1",
    "_share_max": "a share, 0 to 1",
}


def _schema_of(model: type[BaseModel]) -> Schema:
    _, definitions = models_json_schema([(model, "validation")], ref_template="#/$defs/{model}")
    own: Schema = definitions["$defs"].pop(model.__name__)
    return own | {"$defs": definitions["$defs"]}


def _objects(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each object of a schema with its name; that of the whole file is empty."""
    yield "", schema
    yield from ((name, each) for name, each in schema["$defs"].items() if "properties" in each)


def _keys(schema: Schema, named: str | None = None) -> Iterator[tuple[str, Schema]]:
    """Yield all keys of all objects, or those of one name, with the name."""
    for _, each in _objects(schema):
        yield from ((name, key) for name, key in each["properties"].items() if named in {None, name})


def _add_units(schema: Schema) -> None:
    """Write the unit, which is in the name, where an editor shows it, and leave out titles that repeat the name."""
    for name, key in _keys(schema):
        key.pop("title", None)
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), None)
        if unit is not None:
            key["x-unit"] = unit


def _allow_one_trunk(schema: Schema) -> None:
    """Allow `trunk` and `traffic` at the top instead of a list of trunks."""
    trunk = schema["$defs"]["Trunk"]
    single = trunk | {"required": [key for key in trunk.get("required", ()) if key != "traffic"]}
    schema["properties"]["trunk"] = single | {"description": "The trunk of a study with a single one."}
    schema["properties"]["traffic"] = {"$ref": "#/$defs/Traffic", "description": "The calls of that trunk."}
    schema["required"].remove("trunks")
    neither = [{"not": {"required": [key]}} for key in ("trunk", "traffic")]
    alone = {"required": ["traffic"], "not": {"required": ["trunks"]}}
    within = {
        "required": ["trunk"],
        "properties": {"trunk": {"required": ["traffic"]}},
        "not": {"anyOf": [{"required": ["trunks"]}, {"required": ["traffic"]}]},
    }
    schema["oneOf"] = [{"required": ["trunks"], "allOf": neither}, alone, within]


def keys_at(schema: Schema, path: tuple[str, ...], written: Mapping[str, Any]) -> Schema:
    """Return the schema of the key at a path in what is written, for its description.

    Raises:
        KeyError: the schema has no such key.
    """
    here, values = schema, [written]
    for name in path:
        here = next(each["properties"][name] for each in _choices(here, schema, values) if name in each["properties"])
        values = [value[name] for value in values if isinstance(value, Mapping) and name in value]
    return here


def _choices(node: Schema, schema: Schema, values: list[Any]) -> Iterator[Schema]:
    """Yield the objects that a node may stand for. Of a tagged union, those first whose tag is written."""
    if "$ref" in node:
        yield from _choices(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema, values)
    options = node.get("anyOf", []) + (node.get("oneOf", []) if "properties" not in node else [])
    tag = node.get("discriminator", {}).get("propertyName")
    chosen = [value[tag] for value in values if isinstance(value, Mapping) and tag in value]
    mapping = node.get("discriminator", {}).get("mapping", {})
    options = [{"$ref": mapping[chosen[0]]}] if chosen and chosen[0] in mapping else options
    for option in options:
        yield from _choices(option, schema, values)
    if "properties" in node:
        yield node
