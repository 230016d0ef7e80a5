"""Which foreign stacks there are, and how each is asked: what it cannot play, its programs, its throttle's windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trunkproof.loadgen.stacks.asterisk import programs as asterisk
from trunkproof.loadgen.stacks.asterisk import render as asterisk_render
from trunkproof.loadgen.stacks.endpoints import Places
from trunkproof.loadgen.stacks.kamailio import programs as kamailio
from trunkproof.loadgen.stacks.kamailio import render as kamailio_render
from trunkproof.loadgen.system.programs import Program
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import Stack, Study


@dataclass(frozen=True)
class Recipe:
    """How one stack is made of a study."""

    objections: Callable[[Study], list[Problem]]
    """What of the study it cannot play."""
    programs: Callable[[Study, Places], tuple[list[Program], dict[str, str]]]
    """Writes the configuration; the programs in the order of starting, and the Prometheus pages by program."""
    windows_began: Callable[[Study, Mapping[str, int]], dict[str, float]]
    """From the processes by program: when, on the monotonic clock, a window of each trunk's throttle began."""


_RECIPES: dict[Stack, Recipe] = {
    "kamailio": Recipe(kamailio_render.objections, kamailio.kamailio_programs, kamailio.windows_began),
    "asterisk": Recipe(asterisk_render.objections, asterisk.asterisk_programs, asterisk.windows_began),
}


def recipe_of(study: Study) -> Recipe:
    """The recipe of the foreign stack that the study names.

    Raises:
        InputError: that stack cannot play this study; lists all that it cannot.
    """
    recipe = _RECIPES[study.pop.stack]
    problems = recipe.objections(study)
    if problems:
        raise InputError(f"{study.name}, on {study.pop.stack}", problems)
    return recipe


def check_playable(study: Study) -> None:
    """Find out before anything is started whether the study's stack can play it; the embedded trunk plays all.

    Raises:
        InputError: it cannot; lists all that it cannot.
    """
    if study.pop.stack != "embedded":
        recipe_of(study)
