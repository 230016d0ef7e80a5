"""A study: the trunk, its traffic and the quality asked of it, as immutable typed values.

The defaults are the documented trunk (virtual SIP over TLS, Mumbai PoP, 200 calls per minute). Reading YAML, with all
errors at once, is `models.study_file` and `models.forms`. `simulator` and `loadgen` execute a study.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, IPvAnyAddress, IPvAnyNetwork, model_validator

from trunkproof.models.destinations import AddedHeaders
from trunkproof.models.distributions import Constant, Distribution
from trunkproof.models.edges import (
    CustomerEdge,
    Dns,
    Edge,
    EdgeDown,
    Failover,
    Instant,
    edge_named,
    edge_problems,
)
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.forms import Form, Written, validate_form
from trunkproof.models.hosts import PORT, HostAndPort, HostName
from trunkproof.models.html import html_table
from trunkproof.models.key_paths import KeyPath, key_path
from trunkproof.models.settings import Settings, WrongTogetherError
from trunkproof.models.targets import Asks, Operator, Target
from trunkproof.models.thresholds import KpiThreshold, threshold_problems
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.policy import SHARED_NAME, Policy
from trunkproof.models.throttles.registry import ThrottleSettings, timers_that_differ
from trunkproof.models.throttles.shared import sharing_problems, with_names_replaced
from trunkproof.models.traffic import Positive, Traffic

PRODUCTION_HOST = "pstn.in2.exotel.com"
Codec = Literal["PCMA", "PCMU"]
Suite = Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]
Transport = Literal["tls", "tcp"]
USUAL_PORT: Mapping[Transport, int] = {"tls": 5061, "tcp": 5060}
"""The ports of SIP where none is named (RFC 3261 section 19.1.2)."""
MediaProfile = Literal["srtp", "rtp"]
StackName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""The name of a stack, such as `embedded`. `loadgen.stacks.registry` knows which stacks there are."""


class MediaPorts(Settings):
    """The PoP's pool of UDP port pairs (RTP on the even port, RTCP on the odd one above)."""

    low: PORT = 10000
    """The first port."""
    high: PORT = 40000
    """The last port. One pair needs an even port and the odd one above."""
    legs: Literal[1, 2] = 1
    """Pairs that a call takes: 2 where the carrier's leg comes from the same range."""
    quarantine_s: Instant = 0.0
    """How long a released pair rests before it is given again."""

    @model_validator(mode="after")
    def _holds_a_pair(self) -> Self:
        if len(range(self.low + self.low % 2, self.high, 2)) < self.legs:
            raise ValueError(f"the range {self.low}-{self.high} holds no call of {self.legs} port pair(s)")
        return self


class Burst(Settings):
    """More channels for a limited time. `models.channels` has the exact rule."""

    channels: Annotated[int, Field(ge=1)]
    """Calls at once while it lasts, the base limit included."""
    for_s: Annotated[float, Field(gt=0, le=86_400)]
    """How long more than the base limit may be in use."""


class Carrier(Settings):
    """The network behind the PoP."""

    channels: Annotated[int, Field(ge=0)] | None = None
    """Calls at once, in both directions, ringing calls included. None: unlimited."""
    channels_per: Literal["account", "pop"] = "pop"
    """Who shares the channels: all trunks of one account, or all trunks of the PoP."""
    burst: Burst | None = None
    """More channels for a limited time. None: never more."""
    calls_per_second: Annotated[int, Field(ge=1)] | None = None
    """Calls that it accepts in any second. None: unlimited."""
    setup: Distribution = Constant(kind="constant", value_s=0.1)
    """The time from handing over the INVITE to the first ring."""
    address: IPvAnyAddress = IPv4Address("127.0.1.1")
    """The address of the carrier that we play behind a foreign stack. The embedded trunk has its carrier inside."""
    media: MediaProfile = "rtp"
    """How audio goes between such a stack and the carrier."""
    transport: Transport = "tls"
    """What carries SIP to the carrier that `trunkproof answer` plays. Behind a stack of ours it is always TLS."""

    @model_validator(mode="after")
    def _burst_is_above_base(self) -> Self:
        if self.burst is not None and self.channels is None:
            raise ValueError("a burst needs a base limit above which it lends: give channels too")
        if self.burst is not None and self.channels is not None and self.burst.channels <= self.channels:
            raise ValueError(f"burst.channels {self.burst.channels} must be more than the base limit {self.channels}")
        return self


class Machine(Settings):
    """The machine of the PoP."""

    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    """A real stack on this machine gets as many cores for itself, if that leaves one for the load generator."""
    quota: Annotated[float, Field(gt=0, le=1024)] | None = None
    """The CPU that all programs of the PoP may use together, in cores (a Linux CPU quota). None: all cores."""
    slowdown: Annotated[float, Field(gt=0, le=100, validation_alias=AliasChoices("slowdown", "pace"))] = 1.0
    """How many times as long its cores take for any work as in the calibration. The older name `pace` is accepted."""
    calibration: str | None = None
    """The name of a cost calibration in models/calibrations/, or a path. None: the one with the stack's name."""


class EdgeRestart(Settings):
    """The TLS edge drops every connection and listens again `down_s` later; established calls keep their media."""

    kind: Literal["edge_restart"]
    """The signalling edge restarts."""
    at_s: Instant
    """Seconds after the start of the run."""
    down_s: Instant = 1.0
    """How long nothing listens, in seconds."""
    forgets_throttle: bool = False
    """The throttle's memory goes too, as where it lives in the process that restarts; a new window then begins."""


class CarrierBrownOut(Settings):
    """The carrier keeps only `channels` channels for the whole PoP for a while; calls that are up stay up."""

    kind: Literal["carrier_brown_out"]
    """The carrier loses channels for a while."""
    at_s: Instant
    """Seconds after the start of the run."""
    lasts_s: Positive
    """How long it lasts, in seconds."""
    channels: Annotated[int, Field(ge=0)] = 0
    """The channels that are left."""


Incident = Annotated[EdgeRestart | EdgeDown | CarrierBrownOut, Field(discriminator="kind")]


class Pop(Settings):
    """A point of presence: what its trunks share."""

    name: str = "mumbai"
    """Its name in results."""
    stack: StackName = "embedded"
    """The stack that plays it. `--stack` overrides it for one run."""
    host: str = PRODUCTION_HOST
    """Host name of the signalling edge; its certificate carries it."""
    port: PORT = 443
    """The TLS port of the signalling edge."""
    address: IPvAnyAddress = IPv4Address("127.0.0.1")
    """The address at which the trunk listens, and from which it sends media."""
    edges: tuple[Edge, ...] = ()
    """The doors of the PoP. Empty: the one of `host`, `port` and `address`."""
    dns: Dns = Dns()
    """How names of edges are looked up."""
    throttle_per: Literal["trunk", "edge"] = "trunk"
    """Whether all edges count together against a trunk's throttle, or each for itself."""
    failover: Failover = Failover()
    """When customers turn to another edge."""
    inner_address: IPvAnyAddress = IPv4Address("127.0.1.2")
    """The side of such a trunk that faces the carrier, where it has one."""
    ports: MediaPorts = MediaPorts()
    """The pool of media ports."""
    carrier: Carrier = Carrier()
    """The telephone network behind it."""
    throttles: Mapping[Annotated[str, Field(pattern=SHARED_NAME)], ThrottleSettings] = {}
    """Limits that trunks share, by name: `throttle: {shared: name}`. `models.throttles.shared` explains them."""
    machine: Machine = Machine()
    """What its programs run on."""
    incidents: tuple[Incident, ...] = ()
    """What goes wrong during the run."""

    @model_validator(mode="after")
    def _edges_are_clear(self) -> Self:
        downs = [incident for incident in self.incidents if isinstance(incident, EdgeDown)]
        problems = list(edge_problems(self.doors, downs))
        if self.edges and self.dns.srv is not None:
            problems.append("edges and dns.srv both say where the edges are: write one of them")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def doors(self) -> tuple[Edge, ...]:
        """Return the edges, at least one."""
        # Not checked anew: `host` and `port` were, each by its own key.
        return self.edges or (Edge.model_construct(host=self.host, port=self.port, address=self.address),)

    def edge_of(self, down: EdgeDown) -> int:
        """Return the place of the edge that an incident takes away."""
        index = edge_named(self.doors, down.edge)
        assert index is not None, "checked when the study was read"
        return index

    @property
    def calibration(self) -> str:
        """Return the cost calibration that predictions use: the machine's, or the one named like the stack."""
        return self.machine.calibration or self.stack


class DigestCredentials(Settings):
    """A user name, and the environment variable that has the password. No study holds a password."""

    username: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """The user name."""
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The name of the environment variable that has the password."""


class Trunk(Settings):
    """One customer's trunk: who may call, how often, with which media, and what traffic it gets."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] = "trunk"
    """Its name in results."""
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")] = "example"
    """The account's name: the first label of the domain in From."""
    customer_address: IPvAnyAddress = IPv4Address("127.0.0.2")
    """The customer's SBC or PBX: it calls from here, and listens here for inbound calls."""
    customer_port: PORT = 5061
    """The port at which the customer listens for inbound calls."""
    transport: Transport = "tls"
    """What carries SIP, in both directions."""
    media: MediaProfile = "srtp"
    """What carries audio: SRTP (`RTP/SAVP` with `a=crypto`) or plain RTP (`RTP/AVP`)."""
    outbound_proxy: HostAndPort | None = None
    """The first hop of outbound requests, by a Route header (RFC 3261 section 8.1.2). None: the trunk itself."""
    from_domain: HostName | None = None
    """The domain in From. None: the account's, `<account>.pstn.exotel.com`."""
    request_host: HostName | None = None
    """The host in the Request-URI and in To. None: the trunk's address."""
    headers: AddedHeaders = ()
    """Headers that each outbound INVITE has beside its own."""
    credentials: DigestCredentials | None = None
    """With what a challenge (401 or 407) is answered. None: it is a refusal."""
    customer_edges: tuple[CustomerEdge, ...] = ()
    """Where inbound calls go, by priority and weight. Empty: `customer_address` and `customer_port`."""
    trusted: tuple[IPvAnyNetwork, ...] = ()
    """More addresses from which the customer takes requests, beside the edges of the trunk."""
    external_address: IPvAnyAddress | None = None
    """The address that Via, Contact and SDP name, where a NAT without changes of ports stands before the customer."""
    whitelist: tuple[IPvAnyNetwork, ...] = ()
    """Source addresses that may call, IPv4 or IPv6; none given: the customer's own address."""
    follow_redirects: bool = False
    """A 3xx is followed, at most five times for a call, and only to addresses that the guard allows."""
    throttle: ThrottleSettings = FixedWindow()
    """The limit on its calls."""
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("PCMA", "PCMU")
    """In the order of preference."""
    suites: Annotated[tuple[Suite, ...], Field(min_length=1)] = ("AES_CM_128_HMAC_SHA1_80",)
    """SRTP suites, in the order of preference."""
    traffic: Traffic
    """Its calls."""

    @property
    def domain(self) -> str:
        """Return the domain of the customer's numbers, as From names it."""
        return self.from_domain or f"{self.account}.pstn.exotel.com"

    @property
    def is_tls(self) -> bool:
        """Tell whether SIP is carried over TLS."""
        return self.transport == "tls"

    @property
    def inbound_edges(self) -> tuple[CustomerEdge, ...]:
        """Return where inbound calls go, at least one place."""
        # Not checked anew: the address and the port were.
        own = CustomerEdge.model_construct(host=str(self.customer_address), port=self.customer_port)
        return self.customer_edges or (own,)

    def admits(self, source: IPvAnyAddress) -> bool:
        """Tell whether the whitelist lets this source address call."""
        # A socket for both families shows an IPv4 caller as ::ffff:a.b.c.d.
        mapped = source.ipv4_mapped if isinstance(source, IPv6Address) else None
        source = mapped or source
        return any(source in network for network in self.whitelist) or (
            not self.whitelist and source == self.customer_address
        )


Share = Annotated[float, Field(ge=0, le=1)]


class Quality(Settings):
    """The quality targets of the trunk. A target that is null is not judged."""

    refused_share_max: Annotated[Share | None, Asks("refused_share", Operator.AT_MOST)] = 0.01
    """The largest share of attempts that the trunk may refuse: throttle, channels, ports."""
    customers_lost_share_max: Annotated[Share | None, Asks("customers_lost_share", Operator.AT_MOST)] = 0.01
    """The largest share of callers who may never get through, redials included."""
    srd_p95_ms_max: Annotated[Positive | None, Asks("srd_p95_ms", Operator.AT_MOST)] = 2000.0
    """The longest Session Request Delay (RFC 6076) of 95 % of calls, in milliseconds."""
    ner_min: Annotated[Share | None, Asks("ner", Operator.AT_LEAST)] = None
    """The lowest Network Effectiveness Ratio (E.411)."""
    mos_p5_min: Annotated[Annotated[float, Field(ge=1, le=4.5)] | None, Asks("mos_p5", Operator.AT_LEAST)] = 4.0
    """The lowest MOS (G.107) of the worst 5 % of calls."""

    failed_calls_share_max: Annotated[
        Share | None, Asks("failed_calls_share", Operator.AT_MOST, only_measured=True)
    ] = 0.01
    """The largest share of real calls that may fail for a reason which nobody planned."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Return the targets that are set and that a prediction can be asked for, in the order above."""
        return self._targets(measured=False)

    @property
    def measured_targets(self) -> tuple[Target, ...]:
        """Return the targets that are set, for a run of real calls."""
        return self._targets(measured=True)

    def _targets(self, *, measured: bool) -> tuple[Target, ...]:
        keys = type(self).model_fields.items()
        asked = [(name, note) for name, key in keys for note in key.metadata if isinstance(note, Asks)]
        asked = [(name, note) for name, note in asked if measured or not note.only_measured]
        bounds = ((note, getattr(self, name)) for name, note in asked)
        return tuple(Target(note.kpi, note.operator, bound) for note, bound in bounds if bound is not None)


class Study(Settings):
    """One question about one PoP: the only input of every command."""

    name: str
    """Its name in results. Without one it is the file's."""
    seed: Annotated[int, Field(ge=0)] = 1
    """The seed of all random draws: the same seed, the same calls."""
    duration_s: Annotated[float, Field(gt=0, le=366 * 86_400)] = 60.0
    """New calls are offered for this long; calls under way are then left to end."""
    pop: Pop = Pop()
    """What the trunks share."""
    trunks: Annotated[tuple[Trunk, ...], Field(min_length=1, max_length=99)]
    """The trunks. A study with one trunk may write `trunk` and `traffic` instead."""
    quality: Quality = Quality()
    """What is asked of the trunk."""
    thresholds: Annotated[tuple[KpiThreshold, ...], Field(max_length=100)] = ()
    """What a load test must keep beside `quality`. See `models.thresholds`."""

    @model_validator(mode="before")
    @classmethod
    def _replace_shared(cls, written: Any) -> Any:
        if not isinstance(written, dict) or not isinstance(written.get("trunks"), list | tuple):
            return written
        pop = written.get("pop")
        shared = pop.get("throttles") if isinstance(pop, dict) else getattr(pop, "throttles", None)
        trunks = [
            trunk | {"throttle": with_names_replaced(trunk["throttle"], shared or {}, f"trunks[{index}].throttle")}
            if isinstance(trunk, dict) and "throttle" in trunk
            else trunk
            for index, trunk in enumerate(written["trunks"])
        ]
        return written | {"trunks": trunks}

    @model_validator(mode="after")
    def _sharing_is_clear(self) -> Self:
        shared = self.pop.throttles
        for name, throttle in shared.items():
            if any(each.shared is not None for each in (throttle, *throttle.parts)):
                raise WrongTogetherError(f"pop.throttles.{name}", "names another shared limit; only trunks do")
        for index, trunk in enumerate(self.trunks):
            for what in sharing_problems(trunk.throttle, shared):
                raise WrongTogetherError(f"trunks[{index}].throttle", what)
        return self

    @model_validator(mode="after")
    def _trunks_differ(self) -> Self:
        for what in ("name", "customer_address"):
            values = [str(getattr(trunk, what)) for trunk in self.trunks]
            for value in sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"trunks share the {what} {value}; each needs its own")
        return self

    @model_validator(mode="after")
    def _one_transport(self) -> Self:
        if len({trunk.transport for trunk in self.trunks}) > 1:
            raise ValueError("trunks of one PoP have different transports; write a study for each transport")
        return self

    @model_validator(mode="after")
    def _thresholds_name_what_is_there(self) -> Self:
        numbers = {trunk.name: trunk.traffic.where for trunk in self.trunks}
        if problems := list(threshold_problems(self.thresholds, numbers)):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _one_timer(self) -> Self:
        if several := timers_that_differ(trunk.throttle for trunk in self.trunks):
            raise ValueError(f"trunks with {several} share one timer; give them the same window_s")
        return self

    def __repr__(self) -> str:
        names = ", ".join(trunk.name for trunk in self.trunks)
        return f"<Study {self.name!r}: {names} at {self.pop.name}, {self.duration_s:g} s, seed {self.seed}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [
            (trunk.name, trunk.throttle.describe(), trunk.traffic.arrivals.kind, trunk.traffic.holding.describe())
            for trunk in self.trunks
        ]
        return html_table(("trunk", "throttle", "arrivals", "holding"), rows, caption=repr(self))

    def digest(self) -> str:
        """Return the SHA-256 of all values but the thresholds, as 16 hex digits, however the study was written.

        Thresholds change neither the trunk nor its calls: a trunk that runs takes a load test with new ones.
        """
        return hashlib.sha256(self.model_dump_json(exclude={"thresholds"}).encode()).hexdigest()[:16]

    def on(self, stack: StackName) -> Self:
        """Return the study on another stack."""
        return self.model_copy(update={"pop": self.pop.model_copy(update={"stack": stack})})

    def but(self, changes: Mapping[str, Any]) -> Study:
        """Return the study with other values for some keys, validated: `{"traffic.arrivals.rate_per_minute": 300}`.

        Keys are written as in a file: with a single trunk `trunk.throttle.limit` and `traffic.holding`, with several
        `trunks[1].throttle.limit`. A value may be settings, such as `Lognormal(mean_s=60, cv=1)`.

        Raises:
            InputError: a key or a value is wrong; lists all problems.
        """
        written = self.model_dump(mode="json", exclude_unset=True)
        if len(self.trunks) == 1:
            (trunk,) = written.pop("trunks")
            written |= {"trunk": trunk, "traffic": trunk.pop("traffic")}
        problems, paths = [], {}
        for key, value in changes.items():
            try:
                path = key_path(key)
            except ValueError as error:
                problems.append(Problem(where=key, what=str(error)))
                continue
            paths[_as_written(path, written)] = value.model_dump(mode="json") if isinstance(value, Settings) else value
        if problems:
            raise InputError(self.name, problems)
        return validate_form(written, STUDY, source=self.name, changes=paths)

    @property
    def channel_pools(self) -> tuple[int, ...]:
        """Return for each trunk the number of its pool of carrier channels, from 0."""
        if self.pop.carrier.channels_per == "pop":
            return (0,) * len(self.trunks)
        accounts = list(dict.fromkeys(trunk.account for trunk in self.trunks))
        return tuple(accounts.index(trunk.account) for trunk in self.trunks)

    def count_of(self, throttle: Policy, trunk: int) -> tuple[str, str] | None:
        """Return which count of a shared limit the calls of a trunk belong to. None: a count of its own.

        `throttle` is the trunk's, or a part of it.
        """
        if throttle.shared is None:
            return None
        calls_of = self.trunks[trunk]
        return throttle.shared, {None: "", "account": calls_of.account, "trunk": calls_of.name}[throttle.per]

    @property
    def transport(self) -> Transport:
        """Return what carries SIP between the PoP and its customers."""
        return self.trunks[0].transport

    @property
    def media(self) -> MediaProfile:
        """Return what audio is priced as: plain RTP only where no trunk has SRTP."""
        return "rtp" if all(trunk.media == "rtp" for trunk in self.trunks) else "srtp"

    def trunk_named(self, name: str) -> Trunk:
        """Return the trunk of that name.

        Raises:
            KeyError: there is none.
        """
        for trunk in self.trunks:
            if trunk.name == name:
                return trunk
        raise KeyError(name)


_AT_TOP = ("trunk", "traffic")
"""Keys that a study with a single trunk may write at the top instead of a list of `trunks`."""


def _with_trunk_list(written: Written) -> Written:
    """Return the short form (`trunk:` and `traffic:` at the top) as the full one (`trunks:`)."""
    study = {key: value for key, value in written.items() if key not in _AT_TOP}
    if "trunks" in written:
        # Left in, so that pydantic names them as keys that do not belong beside `trunks`.
        return study | {key: written[key] for key in _AT_TOP if key in written}
    trunk = written.get("trunk") or {}
    if isinstance(trunk, dict) and "traffic" in written:
        trunk = trunk | {"traffic": written["traffic"]}
    return study | {"trunks": [trunk]}


def _as_written(path: KeyPath, written: Mapping[str, Any]) -> KeyPath:
    if "trunks" in written or path[:2] != ("trunks", 0):
        return path
    inner = path[2:]
    in_trunk = isinstance(written.get("trunk"), dict) and inner[:1] and inner[0] in written["trunk"]
    return inner if inner[:1] == ("traffic",) and not in_trunk else ("trunk", *inner)


STUDY: Form[Study] = Form(
    Study, word="study", needs="traffic", expand=_with_trunk_list, as_written=_as_written, also_at_top=_AT_TOP
)
"""A study, which may be of a single trunk."""
