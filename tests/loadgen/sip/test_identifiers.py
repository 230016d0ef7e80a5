"""RFC 3261 sections 8.1.1.4, 8.1.1.7 and 19.3: forms, and repeatability from a seed."""

from __future__ import annotations

import random
import uuid

from trunkproof.loadgen.sip.identifiers import Identifiers


def test_8_1_1_7_branches_begin_with_the_cookie() -> None:
    assert Identifiers(random.Random(1)).branch().startswith("z9hG4bK")


def test_8_1_1_4_call_id_is_a_uuid_at_a_host() -> None:
    text, _, host = Identifiers(random.Random(1)).call_id("h").partition("@")
    assert (uuid.UUID(text).version, host) == (4, "h")


def test_19_3_tags_differ_and_follow_from_the_seed() -> None:
    ids = Identifiers(random.Random(1))
    tags = [ids.tag() for _ in range(100)]
    assert len(set(tags)) == 100
    assert tags[0] == Identifiers(random.Random(1)).tag()
