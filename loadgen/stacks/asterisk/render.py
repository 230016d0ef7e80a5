"""Render the configuration of an Asterisk that plays a study's PoP. Nothing is started or written here.

The stack must be able to play the study: `unsupported` is empty. All figures come from the study.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.stacks.asterisk.throttles import RENDERED
from trunkproof.loadgen.stacks.asterisk.unsupported import CAUSE_OF_STATUS
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.refusals import PHRASES, THROTTLE_CAUSE
from trunkproof.models.study import MediaPorts, Study, Trunk

CAUSE_OF_PHRASE = {phrase: cause for cause, phrase in PHRASES.items()}
"""Reason phrase of a carrier's 503 -> its Q.850 cause. The dialplan sees nothing else of a refusing response."""
_CODECS = {"PCMA": "alaw", "PCMU": "ulaw"}
_CARRIED = ("X-Exotel-LegSid", "X-Exotel-CallSid", "X-Exotel-TrunkSid", "P-Early-Media")
"""Headers of the carrier's INVITE that reach the customer unchanged. Asterisk makes P-Asserted-Identity itself."""
_UNSET = ("acl", "ccss", "cdr", "cel", "features", "indications", "pjproject", "udptl", "stasis")
_TEMPLATES = Environment(
    loader=PackageLoader("trunkproof.loadgen.stacks.asterisk"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # configuration files, not web pages
)


def _no_dialplan_for(policy: str) -> str:
    """Raise NotImplementedError, where `throttle.j2` has no dialplan for a policy that `throttles` declares."""
    raise NotImplementedError(f"throttle.j2 has no dialplan for {policy}")


_TEMPLATES.globals.update(no_dialplan_for=_no_dialplan_for)


@dataclass(frozen=True)
class Instance:
    """One Asterisk on this machine."""

    folder: Path
    """Its own folder. It writes nowhere else."""
    installation: Installation
    open_files: int
    """How many files it may have open. A bridged call takes about a dozen."""


def render(study: Study, endpoints: StackEndpoints, instance: Instance, metrics_port: int) -> dict[str, str]:
    """Return file name -> content, for Asterisk as the trunk. Its Prometheus page is at the inner address."""
    pop = study.pop
    codecs = {codec: None for trunk in study.trunks for codec in trunk.codecs}
    context = {
        "pop": pop,
        "protocol": study.transport,
        "endpoints": endpoints,
        "trunks": [_trunk(index, trunk) for index, trunk in enumerate(study.trunks)],
        "carrier_codecs": [_CODECS[codec] for codec in codecs],
        # One port pair on each of two addresses counts once in the range. Two pairs on one address count twice.
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
    """Return file name -> content, for Asterisk as the PBX of one trunk's customer.

    It follows the operator's sample, in the syntax of current Asterisk. It rings every number at the customer's address
    and `phone_port`, over TLS.
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


def render_paths(instance: Instance) -> str:
    """Return asterisk.conf: where the instance finds its parts, and that it writes into its folder only."""
    return _fill("asterisk", {"instance": instance})


def _files(instance: Instance, context: dict[str, Any], *, prefix: str) -> dict[str, str]:
    context |= {
        "instance": instance,
        "cause_of_status": CAUSE_OF_STATUS,
        "cause_of_phrase": CAUSE_OF_PHRASE,
    }
    common = ("asterisk", "modules", "logger", "http", "prometheus", "rtp")
    files = {f"{name}.conf": _fill(name, context) for name in common}
    files |= {f"{name}.conf": _fill(f"{prefix}{name}", context) for name in ("pjsip", "extensions")}
    # Asterisk complains about each of these files where it is missing.
    return files | {f"{name}.conf": _fill("empty", context) for name in _UNSET}


def _fill(name: str, context: dict[str, Any]) -> str:
    return _TEMPLATES.get_template(f"{name}.conf.j2").render(context)


def _trunk(index: int, trunk: Trunk) -> dict[str, Any]:
    """Return what the templates need of a trunk. Its name may be too long for a channel name, so it has a number."""
    return {
        "name": trunk.name,
        "endpoint": f"trunk{index}",
        "carrier": f"carrier{index}",
        "outbound": f"outbound{index}",
        "inbound": f"inbound{index}",
        "domain": trunk.domain,
        "customer": f"{trunk.customer_address}:{trunk.customer_port}",
        "sources": trunk.whitelist or (trunk.customer_address,),
        "codecs": [_CODECS[codec] for codec in trunk.codecs],
        "secured": trunk.media == "srtp",
        "short_tag": trunk.suites[0] == "AES_CM_128_HMAC_SHA1_32",
        "limit": _limit(trunk),
        "counts_inbound": trunk.throttle.counts == "both",
    }


def _limit(trunk: Trunk) -> dict[str, Any] | None:
    """Return what `throttle.j2` needs of the throttle, or None for a trunk without one."""
    throttle = trunk.throttle
    # None for a trunk without a throttle, and `values and …` then stays None.
    values = RENDERED[type(throttle)](throttle)
    return values and values | {"kind": throttle.policy, "cause": _throttle_cause(throttle.refusal_status)}


def _throttle_cause(status: int) -> int:
    return THROTTLE_CAUSE if status == 503 else CAUSE_OF_STATUS[status]
