"""What can be wrong with a trunk, as values: the keys of the table of remedies.

Many are the load generator's own (`models.faults`, dispositions, faults of SDP, failures to connect). Here are the
wrappers of numbers, and what only a check-up finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trunkproof.loadgen.sip.offer_answer import SdpFault
from trunkproof.loadgen.tls.connection import ConnectFailure
from trunkproof.models.faults import AudioFault, CertificateFault, TlsAlert
from trunkproof.models.records import Disposition


@dataclass(frozen=True, slots=True)
class Status:
    """The final SIP status of a request, as a key."""

    code: int


@dataclass(frozen=True, slots=True)
class Q850:
    """A cause value of ITU-T Q.850 in a Reason header (RFC 3326), as a key."""

    cause: int


class PathFault(StrEnum):
    """What `check` finds that no single call says: in names, identity, addresses on the way, and this machine."""

    NAME_UNKNOWN = "the name does not resolve"
    NOT_WHITELISTED = "source address not whitelisted"
    WRONG_EXOPHONE = "caller is no Exophone of the account"
    WRONG_DOMAIN = "wrong domain in From"
    WRONG_IDENTITY = "Exophone, domain or whitelist"
    """A 403 whose cause cannot be told from outside."""
    STRANGER_ADMITTED = "a caller that is nobody's was admitted"
    NO_G711 = "no G.711"
    WANTS_PLAIN_RTP = "plain RTP is wanted"
    NO_OPTIONS = "no answer to OPTIONS"
    VIA_CHANGED = "Via changed on the way"
    CONTACT_CHANGED = "Contact changed on the way"
    SDP_CHANGED = "SDP changed on the way"
    NAT = "a NAT on the way"
    PRIVATE_ADDRESS = "private address in the SDP"
    RTP_FROM_ELSEWHERE = "RTP from another address than signalled"
    MEDIA_CLOSED = "no UDP comes through at all"
    POOR_NETWORK = "delay, jitter or loss beyond what voice takes"
    ACK_LOST = "the ACK does not arrive"
    DROPPED_EARLY = "answered calls are cut off"
    CONTACT_UNREACHABLE = "requests to our Contact do not arrive"
    NO_CALL_SID = "no X-Exotel-CallSid"
    NO_RESUMPTION = "TLS sessions are not resumed"
    CERTIFICATE_ENDS_SOON = "the certificate ends soon"
    MID_CALL_REFUSED = "hold or refresh refused"
    CANCEL_IGNORED = "CANCEL without effect"
    NO_DIGITS = "no telephone-event"
    TOO_FEW_FILES = "too few open files"
    TOO_FEW_PORTS = "too few UDP ports"
    SMALL_BUFFERS = "small UDP buffers"
    CLOCK_WRONG = "the clock is not synchronised"
    TOO_SLOW = "this machine is too slow"


Trouble = Disposition | Status | Q850 | ConnectFailure | CertificateFault | TlsAlert | SdpFault | AudioFault | PathFault
"""What `remedies.remedy_for` takes."""
