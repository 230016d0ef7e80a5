"""A study as the configuration of Asterisk that plays its PoP: files as text, and what of the study it cannot play.

Nothing is started or written here. The templates say how Asterisk is told; the figures all come from the study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trunkproof.loadgen.sip.invite import account_host
from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.stacks.endpoints import Places
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.errors import Problem
from trunkproof.models.refusals import PHRASES, THROTTLE_CAUSE
from trunkproof.models.study import MediaPorts, Study, Trunk
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.token_bucket import TokenBucket

CAUSE_OF_STATUS = {
    403: 21,
    404: 1,
    408: 18,
    410: 22,
    480: 19,
    484: 28,
    486: 17,
    488: 58,
    500: 38,
    501: 29,
    502: 27,
    503: 66,
    603: 16,
}
"""SIP status -> the Q.850 cause that Asterisk's dialplan hangs up with to send it; no other refusal can be sent.

Asterisk makes 503 of the causes 34, 42 and 66 alone. The first two say that a channel lacks and that the throttle
refuses; 66 says neither.
"""
CAUSE_OF_PHRASE = {phrase: cause for cause, phrase in PHRASES.items()}
"""Reason phrase of a carrier's 503 -> its Q.850 cause: of a response that refuses, the dialplan sees nothing else."""
_STATUSES = ", ".join(map(str, CAUSE_OF_STATUS))
_CODECS = {"PCMA": "alaw", "PCMU": "ulaw"}
_CARRIED = ("X-Exotel-LegSid", "X-Exotel-CallSid", "X-Exotel-TrunkSid", "P-Early-Media")
"""Headers of the carrier's INVITE that reach the customer as they are; P-Asserted-Identity is the caller identity's."""
_LEAST_PORT = 1024
"""Asterisk takes no lower one for audio."""
_UNSET = ("acl", "ccss", "cdr", "cel", "features", "indications", "pjproject", "udptl", "stasis")
_TEMPLATES = Environment(
    loader=PackageLoader("trunkproof.loadgen.stacks.asterisk"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # configuration files, not web pages
)


@dataclass(frozen=True)
class Instance:
    """One Asterisk on this machine."""

    folder: Path
    """Its own: it writes nowhere else."""
    installation: Installation
    open_files: int
    """How many it may have; a bridged call takes about a dozen."""


def objections(study: Study) -> list[Problem]:
    """All that Asterisk cannot play of a study, each with the key and what to write instead.

    One thing it plays otherwise than the model: it takes the caller's port pair before the dialplan asks the throttle,
    so a call that finds no pair is refused with 488 and does not count.
    """
    problems = list(_pop_problems(study))
    for index, trunk in enumerate(study.trunks):
        problems += _throttle_problems(f"trunks[{index}].throttle", trunk)
        problems += _outcome_problems(f"trunks[{index}].traffic.outcomes", trunk)
    return problems + list(_overlaps(study))


def _pop_problems(study: Study) -> Iterator[Problem]:
    pop = study.pop
    for index, incident in enumerate(pop.incidents):
        if incident.kind == "edge_restart":
            yield Problem(
                where=f"pop.incidents[{index}]",
                what="Asterisk is edge and media in one: its restart ends every call; leave edge_restart out",
            )
    if pop.ports.quarantine_s > 0:
        yield Problem(where="pop.ports.quarantine_s", what="Asterisk gives a released port again at once; write 0")
    if pop.ports.low < _LEAST_PORT:
        yield Problem(where="pop.ports.low", what=f"Asterisk uses no port below {_LEAST_PORT} for audio")
    if pop.ports.legs == 1 and pop.address == pop.inner_address:
        yield Problem(
            where="pop.ports.legs",
            what="both legs of a call take a pair of the one address: write 2, or give pop.inner_address another one",
        )


def _throttle_problems(where: str, trunk: Trunk) -> Iterator[Problem]:
    throttle = trunk.throttle
    if isinstance(throttle, NoThrottle):
        return
    if not isinstance(throttle, FixedWindow | TokenBucket):
        yield Problem(
            where=f"{where}.policy",
            what=f"Asterisk's dialplan does not keep {throttle.policy}; write fixed_window, token_bucket or none",
        )
    if throttle.refusal_status not in CAUSE_OF_STATUS:
        yield Problem(where=f"{where}.refusal_status", what=f"Asterisk can refuse with {_STATUSES} only")
    if throttle.retry_after_s is not None:
        yield Problem(where=f"{where}.retry_after_s", what="Asterisk can add no Retry-After to a refusal; write null")


def _outcome_problems(where: str, trunk: Trunk) -> Iterator[Problem]:
    for index, rejected in enumerate(trunk.traffic.outcomes.rejected):
        if rejected.status not in CAUSE_OF_STATUS:
            yield Problem(
                where=f"{where}.rejected[{index}].status",
                what=f"Asterisk cannot hand on {rejected.status}; it can {_STATUSES}",
            )


def _overlaps(study: Study) -> Iterator[Problem]:
    """A call's trunk is known by its source address alone."""
    networks = [
        (f"trunks[{index}].whitelist", network)
        for index, trunk in enumerate(study.trunks)
        for network in trunk.whitelist
    ]
    networks += [
        (f"trunks[{index}].customer_address", IPv4Network(trunk.customer_address))
        for index, trunk in enumerate(study.trunks)
        if not trunk.whitelist
    ]
    networks.append(("pop.carrier.address", IPv4Network(study.pop.carrier.address)))
    for (one, network), (other, second) in combinations(networks, 2):
        if one != other and network.overlaps(second):
            yield Problem(where=one, what=f"{network} also belongs to {other}: Asterisk tells trunks by source address")


def render(study: Study, places: Places, instance: Instance, metrics_port: int) -> dict[str, str]:
    """File name -> content, for Asterisk as the trunk; its Prometheus page is at the inner address."""
    pop = study.pop
    codecs = {codec: None for trunk in study.trunks for codec in trunk.codecs}
    context = {
        "pop": pop,
        "places": places,
        "trunks": [_trunk(index, trunk) for index, trunk in enumerate(study.trunks)],
        "carrier_codecs": [_CODECS[codec] for codec in codecs],
        # A pair on each of two addresses is one of the range; two on one address are two.
        "carrier_media_address": pop.inner_address if pop.ports.legs == 1 else pop.address,
        "headers": [{"name": name, "variable": name.upper().replace("-", "_")} for name in _CARRIED],
        "ports": pop.ports,
        "metrics_port": metrics_port,
        "inner_address": pop.inner_address,
    }
    return _files(instance, context, prefix="")


def render_pbx(
    study: Study,
    index: int,
    instance: Instance,
    *,
    certificate: CertificateFiles,
    ca_file: Path,
    phone_port: int,
) -> dict[str, str]:
    """File name -> content, for Asterisk as the PBX of one trunk's customer.

    The operator's sample in today's words. It rings every number at the customer's address and `phone_port`, over TLS.
    """
    context = {
        "pop": study.pop,
        "trunk": study.trunks[index],
        "certificate": certificate,
        "ca_file": ca_file,
        "phone_port": phone_port,
        "ports": MediaPorts(),
        "metrics_port": None,
    }
    return _files(instance, context, prefix="pbx-")


def _files(instance: Instance, context: dict[str, Any], *, prefix: str) -> dict[str, str]:
    context |= {
        "instance": instance,
        "cause_of_status": CAUSE_OF_STATUS,
        "cause_of_phrase": CAUSE_OF_PHRASE,
    }
    common = ("asterisk", "modules", "logger", "http", "prometheus", "rtp")
    files = {f"{name}.conf": _fill(name, context) for name in common}
    files |= {f"{name}.conf": _fill(f"{prefix}{name}", context) for name in ("pjsip", "extensions")}
    return files | {f"{name}.conf": _fill("empty", context) for name in _UNSET}


def _fill(name: str, context: dict[str, Any]) -> str:
    return _TEMPLATES.get_template(f"{name}.conf.j2").render(context)


def _trunk(index: int, trunk: Trunk) -> dict[str, Any]:
    """What the templates want to know of a trunk. Its name may be too long for a channel's, so it has a number."""
    return {
        "name": trunk.name,
        "endpoint": f"trunk{index}",
        "carrier": f"carrier{index}",
        "outbound": f"outbound{index}",
        "inbound": f"inbound{index}",
        "domain": account_host(trunk.account),
        "customer": f"{trunk.customer_address}:{trunk.customer_port}",
        "sources": trunk.whitelist or (trunk.customer_address,),
        "codecs": [_CODECS[codec] for codec in trunk.codecs],
        "short_tag": trunk.suites[0] == "AES_CM_128_HMAC_SHA1_32",
        "limit": _limit(trunk),
        "counts_inbound": trunk.throttle.counts == "both",
    }


def _limit(trunk: Trunk) -> dict[str, Any] | None:
    """The throttle in microseconds, as the dialplan reckons."""
    throttle = trunk.throttle
    if not isinstance(throttle, FixedWindow | TokenBucket):
        return None
    window_us = throttle.window_s * 1e6
    limit = {"kind": throttle.policy, "limit": throttle.limit, "cause": _throttle_cause(throttle.refusal_status)}
    if isinstance(throttle, FixedWindow):
        return limit | {"window_us": _decimal(window_us)}
    interval_us = window_us / throttle.limit
    return limit | {
        "interval_us": _decimal(interval_us),
        "tolerance_us": _decimal((throttle.burst - 1) * interval_us),
    }


def _throttle_cause(status: int) -> int:
    return THROTTLE_CAUSE if status == 503 else CAUSE_OF_STATUS[status]


def _decimal(value: float) -> str:
    """A number as the dialplan reads it: no exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
