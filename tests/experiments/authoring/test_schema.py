"""The JSON Schemas accept what is read, refuse what is refused, and explain every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from trunkproof.experiments.authoring.schema import FORMS, json_schema
from trunkproof.experiments.review.request_file import parse_request
from trunkproof.models.errors import InputError
from trunkproof.models.study_file import parse_study
from trunkproof.models.yaml_text import read_yaml

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / "experiments" / "studies").rglob("*.yaml"))
REQUESTS = sorted((ROOT / "experiments" / "requests").glob("*.yaml"))
VALIDATORS = {word: Draft202012Validator(json_schema(form)) for word, form in FORMS.items()}


def accepts(word: str, text: str) -> bool:
    return bool(VALIDATORS[word].is_valid(read_yaml(text, source=word, word=word).value))


@pytest.mark.parametrize("word", FORMS)
def test_it_is_a_schema(word: str) -> None:
    Draft202012Validator.check_schema(json_schema(FORMS[word]))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_fits(path: Path) -> None:
    assert not list(VALIDATORS["study"].iter_errors(read_yaml(path.read_text(), source="", word="").value))


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_every_shipped_request_fits(path: Path) -> None:
    assert not list(VALIDATORS["request"].iter_errors(read_yaml(path.read_text(), source="", word="").value))


@pytest.mark.parametrize("word", FORMS)
def test_every_key_is_explained(word: str) -> None:
    schema = json_schema(FORMS[word])
    objects = {"": schema} | schema["$defs"]
    bare = [
        f"{name}.{key}"
        for name, each in objects.items()
        for key, value in each.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("word", FORMS)
def test_every_default_is_told(word: str) -> None:
    schema = json_schema(FORMS[word])
    for name, each in schema["$defs"].items():
        optional = set(each.get("properties", ())) - set(each.get("required", ()))
        assert all("default" in each["properties"][key] for key in optional), name


TRAFFIC = "traffic: {arrivals: {kind: poisson, rate_per_minute: 9}, holding: 5}\n"
STUDY_TEXTS = [
    TRAFFIC,
    f"trunk: {{{TRAFFIC.strip()}}}",
    f"trunk: {{name: a}}\n{TRAFFIC}",
    f"trunks: [{{{TRAFFIC.strip()}}}]",
    f"{TRAFFIC}trunks: [{{{TRAFFIC.strip()}}}]",
    f"trunk: {{{TRAFFIC.strip()}}}\n{TRAFFIC}",
    "name: nothing",
    TRAFFIC + "sede: 3",
    TRAFFIC + "seed: yes",
    TRAFFIC + 'duration_s: "60"',
    TRAFFIC + "trunk: {throttle: {policy: token_bucket, limit: 100, burst: 5}}",
    TRAFFIC + "trunk: {throttle: {policy: token_bucket, brust: 5}}",
    TRAFFIC + "trunk: {throttle: {policy: nothing}}",
    TRAFFIC + "trunk: {throttle: {shared: line}}\npop: {throttles: {line: {policy: none}}}",
    TRAFFIC + "trunk: {throttle: {policy: tandem, limits: [{policy: none}, {policy: shaper}]}}",
    TRAFFIC + "trunk: {whitelist: [127.0.0.0/30], codecs: [PCMU], headers: {X-A: b}}",
    TRAFFIC + "trunk: {codecs: []}",
    TRAFFIC.replace("holding: 5", "holding: {kind: lognormal, mean_s: 5, cv: 1}"),
    TRAFFIC.replace("holding: 5", "holding: long"),
    TRAFFIC.replace("holding: 5", "holding: 5, tls: {versions: 1.2}"),
    TRAFFIC.replace("holding: 5", "holding: 5, tls: {versions: [1.2, 1.3]}"),
    TRAFFIC.replace("holding: 5", "holding: 5, redial: {probability: 0.5, by_reason: {busy: [0.5, 0.2]}}"),
    TRAFFIC.replace("holding: 5", 'holding: 5, callers: ["+918040001234"]'),
    TRAFFIC.replace("holding: 5", 'holding: 5, destinations: [{number: "+918040001234", far_end: echo}]'),
    TRAFFIC.replace("holding: 5", 'holding: 5, destinations: [{number: "+918040001234", far_end: nobody}]'),
]
REQUEST_TEXTS = [
    "history: calls.csv\nrequested_per_minute: 300",
    "history: {path: [a.csv, b.csv], where: {account: [a, 3]}}\nrequested_per_minute: 300",
    "history: 5\nrequested_per_minute: 300",
    "requested_per_minute: 300",
    "history: calls.csv\nrequested_per_minute: 300\nthrottle_history: [{from: 2026-01-01, per_minute: 100}]",
    "history: calls.csv\nrequested_per_minute: many",
]


@pytest.mark.parametrize("text", STUDY_TEXTS)
def test_a_schema_and_the_reader_agree_on_a_study(text: str) -> None:
    def is_read() -> bool:
        try:
            parse_study(text)
        except InputError:
            return False
        return True

    assert accepts("study", text) is is_read()


@pytest.mark.parametrize("text", REQUEST_TEXTS)
def test_a_schema_and_the_reader_agree_on_a_request(text: str) -> None:
    def is_read() -> bool:
        try:
            parse_request(text)
        except InputError:
            return False
        return True

    assert accepts("request", text) is is_read()


def test_the_yaml_of_the_documentation_fits() -> None:
    blocks: list[Any] = []
    for page in (ROOT / "docs").rglob("*.md"):
        blocks += [yaml.safe_load(text) for text in re.findall(r"```yaml[^\n]*\n(.*?)```", page.read_text(), re.DOTALL)]
    studies = [block for block in blocks if isinstance(block, dict) and {"traffic", "trunks"} & set(block)]
    assert studies
    properties = VALIDATORS["study"].schema["properties"]
    assert all(set(block) <= set(properties) for block in studies)
