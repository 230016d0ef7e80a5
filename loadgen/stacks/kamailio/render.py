"""Render the configuration of Kamailio and rtpengine for a study. Nothing is started or written here.

All limits come from the study. `unsupported` lists what the two programs cannot play.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trunkproof.loadgen.parties.refusal import Refusal
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.kamailio.bucket import Bucket
from trunkproof.loadgen.stacks.kamailio.internal import Internal
from trunkproof.loadgen.stacks.kamailio.media import towards_carrier, towards_customer
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study, Trunk
from trunkproof.models.throttles.decision import Refused
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.token_bucket import TokenBucket

FILES = ("kamailio.cfg", "tls.cfg", "address.list", "rtpengine.conf")
_MODULES = (
    *("jsonrpcs", "kex", "tm", "tmx", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "debugger", "tcpops"),
    *("nathelper", "htable", "permissions", "rtpengine", "xhttp", "xhttp_prom", "tls"),
)
_PAYLOAD_TYPES = {"PCMA": 8, "PCMU": 0}
_PHRASES = {600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable"}


def render(study: Study, endpoints: StackEndpoints, internal: Internal) -> dict[str, str]:
    """Return file name -> text. The stack must be able to play the study: `unsupported` is empty."""
    environment = Environment(
        loader=PackageLoader("trunkproof.loadgen.stacks.kamailio"),
        # A misspelt name raises an error. By default it would become empty text, and a limit would be missing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(no_script_for=_no_script_for)
    environment.filters.update(phrase=_phrase, one_line=lambda text: " ".join(text.split()))
    values = _values(study, endpoints, internal)
    return {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}


def _values(study: Study, endpoints: StackEndpoints, internal: Internal) -> dict[str, Any]:
    pop = study.pop
    trunks = [_RenderedTrunk(trunk, number) for number, trunk in enumerate(study.trunks, start=1)]
    return {
        "study": study,
        "pop": pop,
        "endpoints": endpoints,
        "internal": internal,
        "trunks": trunks,
        "modules": _MODULES,
        "tcp_children": _tcp_children(study),
        # The module has room for so many networks, and its own default is too small for long whitelists.
        "max_subnets": max(512, sum(len(trunk.whitelist) for trunk in trunks)),
        "pipelimit_interval_s": _pipelimit_interval_s(study),
        # RTP has the even port of a pair, RTCP the odd one above it (RFC 3550 section 11).
        "first_port": pop.ports.low + pop.ports.low % 2,
        "last_port": pop.ports.high - (pop.ports.high + 1) % 2,
        "not_whitelisted": Refusal.of(Disposition.NOT_WHITELISTED),
        "no_port": Refusal.of(Disposition.NO_PORT),
        "towards_carrier": towards_carrier(pop.carrier.media),
        "towards_customers": towards_customer(
            [suite for trunk in study.trunks for suite in trunk.suites], study.trunks[0].media
        ),
    }


def _no_script_for(policy: str) -> str:
    """Raise NotImplementedError, where `macros.j2` has no script for a policy that `throttles` declares."""
    raise NotImplementedError(f"macros.j2 has no script for {policy}")


def _tcp_children(study: Study) -> int:
    """Return the number of Kamailio's TCP processes.

    Each process has its own TLS tickets, and a new connection goes to any process. So where customers resume sessions
    there may be only one process.
    """
    resumes = any(trunk.traffic.tls.resumption_share > 0 for trunk in study.trunks)
    return 1 if resumes else study.pop.machine.cores


def _pipelimit_interval_s(study: Study) -> int | None:
    # One timer of the module counts for all its pipes.
    windows = [int(trunk.throttle.window_s) for trunk in study.trunks if isinstance(trunk.throttle, PipeLimit)]
    return windows[0] if windows else None


def _phrase(status: int) -> str:
    """Return the reason phrase of a SIP status. Where SIP took a status over from HTTP, it is HTTP's phrase."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


@dataclass(frozen=True)
class _RenderedTrunk:
    """A trunk with the names that the templates use. Trunks are numbered from 1, like groups of permissions."""

    trunk: Trunk
    number: int

    @property
    def name(self) -> str:
        return self.trunk.name

    @property
    def domain(self) -> str:
        return self.trunk.domain

    @property
    def customer_address(self) -> str:
        return str(self.trunk.customer_address)

    @property
    def whitelist(self) -> tuple[IPv4Network | IPv6Network, ...]:
        # A trunk without a whitelist admits its customer's own address.
        return self.trunk.whitelist or (ip_network(self.trunk.customer_address),)

    @property
    def suites(self) -> tuple[str, ...]:
        return self.trunk.suites

    @property
    def payload_types(self) -> list[int]:
        return [_PAYLOAD_TYPES[codec] for codec in self.trunk.codecs]

    @property
    def towards_customer(self) -> str:
        return towards_customer(self.trunk.suites, self.trunk.media)

    @property
    def is_secure(self) -> bool:
        return self.trunk.media == "srtp"

    @property
    def profile(self) -> str:
        return "RTP/SAVP" if self.is_secure else "RTP/AVP"

    @property
    def settings(self) -> ThrottleSettings:
        return self.trunk.throttle

    @property
    def policy(self) -> str:
        return self.settings.policy

    @property
    def counts_inbound(self) -> bool:
        return self.settings.counts == "both"

    @property
    def throttled(self) -> Refusal:
        return Refusal.by_throttle(Refused(self.settings.refusal_status, self.settings.retry_after_s))

    @property
    def window_ms(self) -> int:
        assert isinstance(self.settings, FixedWindow)
        return round(self.settings.window_s * 1000)

    @property
    def bucket(self) -> Bucket:
        assert isinstance(self.settings, TokenBucket)
        return Bucket.of(self.settings)
