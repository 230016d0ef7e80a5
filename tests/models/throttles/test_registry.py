"""Every policy is known to everybody: what derives from the registry covers it, and nothing else knows policies."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from tests.models.throttles.examples import EVERY_LIMIT, EVERY_THROTTLE, words_of

from trunkproof.experiments.prediction.twin import exact_refused_share
from trunkproof.experiments.report.review_words import short_interpretations
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.theory.formulas import throttle_share
from trunkproof.loadgen.stacks.asterisk.throttles import RENDERED as BY_ASTERISK
from trunkproof.loadgen.stacks.kamailio.throttles import RENDERED as BY_KAMAILIO
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.models import throttles as package
from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.models.throttles import registry
from trunkproof.models.throttles.decision import Refused
from trunkproof.models.throttles.policy import Asked, KernelPart, Policy
from trunkproof.models.throttles.registry import (
    KERNEL_CODE,
    POLICIES,
    ThrottleSettings,
    plausible_interpretations,
    timers_that_differ,
)
from trunkproof.simulator.kernel.memory import THROTTLE

ROOT = Path(__file__).parents[3]
DECLARED = ("label", "kernel", "is_plausible", "has_two_states", "is_asked")
every_throttle = pytest.mark.parametrize("throttle", EVERY_THROTTLE, ids=words_of)
every_limit = pytest.mark.parametrize("throttle", EVERY_LIMIT, ids=words_of)


def written() -> Iterator[type[Policy]]:
    """The policies in the files of the folder: classes that can be made, and have a name in a study."""
    for module in pkgutil.iter_modules(package.__path__):
        for _, found in inspect.getmembers(
            importlib.import_module(f"{package.__name__}.{module.name}"), inspect.isclass
        ):
            if issubclass(found, Policy) and "policy" in found.model_fields:
                yield found


def study_with(throttle: Policy, **pop: object) -> Study:
    traffic = {"arrivals": {"kind": "poisson", "rate_per_minute": 100}, "holding": 1}
    trunk = {"throttle": throttle.model_dump(), "traffic": traffic}
    return Study.model_validate({"name": "a question", "pop": pop, "trunks": [trunk]})


def test_every_policy_that_is_written_is_registered() -> None:
    assert set(written()) == set(POLICIES)
    assert len({policy.name() for policy in POLICIES}) == len(POLICIES)
    assert sorted(KERNEL_CODE.values()) == list(range(len(POLICIES)))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name())
def test_a_policy_declares_all_that_others_ask(policy: type[Policy]) -> None:
    missing = [name for name in DECLARED if not hasattr(policy, name)]
    assert not missing
    assert isinstance(policy.kernel, KernelPart)
    assert f"| `{policy.name()}`" in (registry.__doc__ or "")


@every_throttle
def test_a_study_says_it_and_reads_it_back(throttle: Policy) -> None:
    read = TypeAdapter(ThrottleSettings).validate_json(throttle.model_dump_json())
    assert read == throttle
    assert study_with(throttle).trunks[0].throttle == throttle


@every_throttle
def test_its_record_has_all_fields_that_it_writes(throttle: Policy) -> None:
    names = set(THROTTLE.names or ())
    declared = " ".join((throttle.kernel.floats, throttle.kernel.integers, throttle.kernel.flags)).split()
    assert {*declared, *throttle.kernel_values()} <= names


@every_throttle
def test_theory_has_an_exact_share_for_it_or_says_that_it_has_none(throttle: Policy) -> None:
    share, reckoned = exact_refused_share(study_with(throttle)), throttle_share(throttle)(np.array([100.0]))[0]
    if throttle.refused_share(100.0) is None:
        assert share == f"there is no formula for the throttle ({throttle.label})"
        assert reckoned == pytest.approx(1 - throttle.passed(100.0, 60.0) / 100, abs=1e-9)
        return
    assert isinstance(share, float)
    assert 0 <= share < 1
    assert (share > 0) == throttle.is_asked
    assert reckoned == pytest.approx(share, rel=0.05, abs=1e-6)


@every_throttle
def test_its_steady_state_lets_no_more_pass_than_comes(throttle: Policy) -> None:
    assert throttle.passed(1.0, 60.0) == 1.0
    assert throttle.passed(1000.0, 60.0) <= 1000.0
    assert math.isinf(throttle.per_minute) != throttle.is_asked


@every_throttle
def test_another_limit_changes_the_limit_alone(throttle: Policy) -> None:
    more = throttle.with_limit(600)
    assert type(more) is type(throttle)
    assert more.per_minute == (600 if throttle.is_asked else math.inf)
    assert more.describe_kind() == throttle.describe_kind()


@every_limit
def test_what_it_says_of_a_history_is_safe(throttle: Policy) -> None:
    """Where a throttle really refuses, neither the proof that it does not nor `may_refuse` may deny it."""
    random = np.random.default_rng(5)
    for rate in (0.5, 1.5, 3.0):
        instants = np.cumsum(random.exponential(1 / rate, 200))
        asked = throttle.make_throttle(0.0)
        refused = np.array([isinstance(asked.try_admit(float(now)), Refused) for now in instants])
        assert not (refused.any() and throttle.refuses_none(Asked(instants)))
        assert not (refused & ~throttle.may_refuse(instants, 0.0)).any()


def test_figures_and_phrases_tell_policies_apart() -> None:
    labels = short_interpretations(policy() for policy in POLICIES)
    assert labels == [policy.label for policy in POLICIES]
    assert len(set(labels)) == len(POLICIES)
    assert len({throttle.describe() for throttle in EVERY_THROTTLE}) == len(EVERY_THROTTLE)


def test_a_review_looks_at_the_plausible_ones_by_default() -> None:
    assert Request.model_fields["interpretations"].default == plausible_interpretations()
    assert [type(interpretation) for interpretation in plausible_interpretations()] == [
        one for one in POLICIES if one.is_plausible
    ]


@pytest.mark.parametrize(("stack", "rendered"), [("asterisk", BY_ASTERISK), ("kamailio", BY_KAMAILIO)])
@every_throttle
def test_a_stack_plays_what_it_declares_and_refuses_the_rest(
    stack: str, rendered: Mapping[type[Policy], object], throttle: Policy
) -> None:
    silent = throttle.model_copy(update={"retry_after_s": None})
    addresses = {"address": "127.0.9.1", "inner_address": "127.0.9.2", "carrier": {"address": "127.0.9.3"}}
    question = study_with(silent, stack=stack, **addresses)
    if type(throttle) in rendered:
        check_playable(question)
    else:
        with pytest.raises(InputError, match=throttle.name()):
            check_playable(question)


def test_one_timer_has_one_window() -> None:
    shared = [throttle for throttle in EVERY_LIMIT if getattr(throttle, "shares_timer", False)]
    assert shared
    assert timers_that_differ(shared) is None
    longer = shared[0].model_copy(update={"window_s": 7.0})
    assert timers_that_differ([*shared, longer]) == shared[0].name()


def switches(root: Path) -> Iterator[str]:
    """Comparisons of a policy's name or class outside the folder of policies and the folders of stacks."""
    names = {policy.__name__ for policy in POLICIES}
    words = re.compile("|".join(rf'"{policy.name()}"' for policy in POLICIES if policy.is_asked))
    for top in ("models", "simulator", "loadgen", "experiments"):
        for path in sorted((root / top).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if place.startswith(("models/throttles/", "loadgen/stacks/", "experiments/verification/review/")):
                continue
            for node in ast.walk(ast.parse(path.read_bytes())):
                asks_class = (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in {"isinstance", "issubclass"}
                    and names & {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                ) or (isinstance(node, ast.MatchClass) and ast.unparse(node.cls) in names)
                asks_name = isinstance(node, ast.Compare) and words.search(ast.unparse(node).replace("'", '"'))
                if asks_class or asks_name:
                    yield f"{place}:{node.lineno if hasattr(node, 'lineno') else 0}"


def test_nobody_else_asks_which_policy_it_is(tmp_path: Path) -> None:
    assert list(switches(ROOT)) == []
    planted = tmp_path / "models" / "a.py"
    planted.parent.mkdir()
    planted.write_text("def f(t):\n    return isinstance(t, TokenBucket) or t.policy == 'shaper'\n")
    assert list(switches(tmp_path)) == ["models/a.py:2", "models/a.py:2"]
