"""New studies and requests: a few answers -> a YAML file that explains each of its keys, and can be run as it is.

The explanations are the descriptions of the keys, so they stand in one place.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from trunkproof.experiments.authoring.schema import Schema, json_schema, keys_at
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.forms import Form
from trunkproof.models.records import FarEnd

_WIDTH = 118
Values = Mapping[str, Any]


def new_study(*, rate_per_minute: float, limit: int, mean_hold_s: float, duration_s: float) -> Values:
    """Return the values of a study of the documented trunk under Poisson traffic."""
    return {
        "seed": 1,
        "duration_s": duration_s,
        "trunk": {"throttle": {"policy": "fixed_window", "limit": limit}},
        "traffic": _traffic(rate_per_minute, mean_hold_s)
        | {
            "outcomes": {"busy": 0.06, "no_answer": 0.04, "abandoned": 0.04},
            "redial": {"probability": 0.0},
        },
        "quality": {"refused_share_max": 0.01, "srd_p95_ms_max": 2000, "mos_p5_min": 4.0},
    }


def new_load(
    *,
    host: str,
    account: str,
    caller: str,
    number: str,
    far_end: FarEnd,
    rate_per_minute: float,
    mean_hold_s: float,
    duration_s: float,
) -> Values:
    """Return the values of a load test of a trunk that somebody else runs: who calls, which number, what is there."""
    return {
        "seed": 1,
        "duration_s": duration_s,
        "pop": {"host": host},
        "trunk": {"account": account, "throttle": {"policy": "fixed_window", "limit": 200}},
        "traffic": _traffic(rate_per_minute, mean_hold_s)
        | {"callers": [caller], "destinations": [{"number": number, "far_end": far_end.value}]},
        "quality": {"refused_share_max": 0.01, "srd_p95_ms_max": 2000, "mos_p5_min": 4.0},
    }


def new_request(*, history: str, now_per_minute: int, requested_per_minute: int) -> Values:
    """Return the values of a request to raise a throttle."""
    return {
        "history": {"path": history, "timezone": "Asia/Kolkata"},
        "now_per_minute": now_per_minute,
        "requested_per_minute": requested_per_minute,
        "confidence": 0.95,
        "quality": {"refused_share_max": 0.01, "customers_lost_share_max": 0.01},
    }


def write_new(path: Path, form: Form[Any], values: Values) -> Path:
    """Write these values as a commented file, and the schema beside it for editors. Return the schema's path.

    Raises:
        InputError: the file exists, or cannot be written.
    """
    schema = json_schema(form)
    beside = path.with_name(f"{form.word}.schema.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never overwrite: somebody may have edited it.
        with path.open("x", encoding="utf-8") as file:
            file.write(f"# yaml-language-server: $schema={beside.name}\n" + commented_yaml(schema, values))
        beside.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    except FileExistsError:
        raise InputError(f"new {form.word}", [Problem(where=str(path), what="exists; name another file")]) from None
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise InputError(f"new {form.word}", [Problem(where=str(path), what=what)]) from None
    return beside


def commented_yaml(schema: Schema, values: Values) -> str:
    """Return values as YAML, with the description of each key above it."""
    return "\n".join(_lines(schema, values, (), values)) + "\n"


def _traffic(rate_per_minute: float, mean_hold_s: float) -> dict[str, Any]:
    return {
        "arrivals": {"kind": "poisson", "rate_per_minute": rate_per_minute},
        "holding": {"kind": "lognormal", "mean_s": mean_hold_s, "cv": 0.8},
    }


def _lines(schema: Schema, written: Values, path: tuple[str, ...], whole: Values) -> Iterator[str]:
    margin = "  " * len(path)
    for name, value in written.items():
        here = (*path, name)
        words = " ".join(keys_at(schema, here, whole)["description"].split())
        yield from textwrap.wrap(words, _WIDTH, initial_indent=f"{margin}# ", subsequent_indent=f"{margin}# ")
        if isinstance(value, Mapping):
            yield f"{margin}{name}:"
            yield from _lines(schema, value, here, whole)
        else:
            # In flow style one value is one line. The end mark of a bare scalar is no part of it.
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            yield f"{margin}{name}: {text}"
