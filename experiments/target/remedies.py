"""What each trouble of a trunk means, and what to do: the operator's own troubleshooting, as one table.

`remedy_for` takes what went wrong as values and returns the most telling remedy. `check` asks it for each thing that
does not hold, and `load` for its table of reasons. Nothing here reads words, its own or the peer's.

The facts are those that the operator documents: which answers to expect, which troubles its customers have, what its
support asks for. Where a value has several causes they stand in the order in which to look for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trunkproof.experiments.target.troubles import Q850, PathFault, Status, Trouble
from trunkproof.loadgen.sip.offer_answer import SdpFault
from trunkproof.loadgen.tls.connection import ConnectFailure
from trunkproof.models.faults import AudioFault, CertificateFault, TlsAlert
from trunkproof.models.records import Disposition

__all__ = ["Q850", "PathFault", "Remedy", "Status", "Trouble", "remedy_for"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a trouble means, and what to do about it. Each is one or two sentences for an engineer."""

    meaning: str
    action: str


def remedy_for(*troubles: Trouble | None) -> Remedy | None:
    """Return the remedy of the first trouble that the table knows, or None. Give the most telling trouble first.

    For a record that is: its audio's fault, the certificate's or the alert, the Q.850 cause, the status, and last the
    disposition. None is passed over.
    """
    # By the class too: two enums may have the same word for different things.
    keys = ((type(trouble), trouble) for trouble in troubles if trouble is not None)
    return next((_REMEDIES[key] for key in keys if key in _REMEDIES), None)


def _keyed(remedies: Mapping[Trouble, Remedy]) -> dict[tuple[type, Trouble], Remedy]:
    return {(type(trouble), trouble): remedy for trouble, remedy in remedies.items()}


_WHITELIST = Remedy(
    "The trunk does not know the address that we call from. It knows its customers by their address.",
    "Have the public address of this host whitelisted (one address, or a CIDR block). Behind a NAT that is the NAT's "
    "address, and it must be static. Where no static address can be had, ask for SIP credentials.",
)
_IDENTITY = Remedy(
    "The trunk knows us, but not the identity under which we call, or it does not know our address.",
    "Look in this order: From must be an Exophone of this account, in E.164 (`traffic.callers`); its domain must be "
    "<account>.pstn.exotel.com (`account`); the public address of this host must be whitelisted.",
)
_CODEC = Remedy(
    "The two sides have no codec in common. The trunk speaks G.711 only, PCMA before PCMU.",
    "Offer PCMA and PCMU (`codecs`); in a PBX: disallow all, then allow alaw and ulaw.",
)
_SRTP = Remedy(
    "One side wants SRTP and the other plain RTP. Behind TLS the trunk uses SRTP, and plain RTP only on TCP 5070.",
    "Switch SRTP on: RTP/SAVP with a=crypto AES_CM_128_HMAC_SHA1_80 (in Asterisk: encryption=yes). Or use the plain "
    "sibling on both sides (`transport: tcp`, `media: rtp`).",
)
_SDP = Remedy(
    "The session description of the other side breaks the rules of offer and answer (RFC 3264, RFC 4568).",
    "Send the operator the SIP trace of this call. Make sure that nothing on the way changes SDP: switch SIP ALG off.",
)
_NUMBER = Remedy(
    "The number is not mapped, not complete, or not in E.164.",
    "Dial + and the country code, without spaces. For calls to an Exophone: map the number to the trunk.",
)
_CHANNELS = Remedy(
    "All channels of the account are taken. A ringing call counts, and a call of two legs counts twice.",
    "Ask for fewer calls at once, or have the account's channels raised. The throttle is another limit.",
)
_THROTTLE = Remedy(
    "The trunk's calls-per-minute limit refused the call.",
    "Stay below the limit, wait as Retry-After says, or ask for a raise (`trunkproof review`). "
    "`trunkproof identify` tells how the limit counts.",
)
_CARRIER = Remedy(
    "The network behind the trunk failed or refused the call.",
    "Try again later, and to another number. Where it lasts, send the operator CallSid and Call-ID.",
)
_CREDENTIALS = Remedy(
    "The trunk asks for SIP credentials, and takes none that we sent.",
    "Set `credentials` (username, and password_env with the name of a variable that holds the password). "
    "If the trunk knows you by address, check the whitelist.",
)
_NOBODY = Remedy(
    "Nobody listens at that address and port, or a firewall refuses us.",
    "Check host and port (TLS is on 443). Allow outgoing TCP to it, and have the address of this host whitelisted.",
)
_NO_ANSWER = Remedy(
    "Nothing came back in time: a firewall drops the packets, or the address is wrong.",
    "Check host and port (TLS is on 443). Allow outgoing TCP to it, and have the address of this host whitelisted.",
)
_OUR_CERTIFICATE = Remedy(
    "The other side does not accept our certificate, or asks for one and got none.",
    "Show a client certificate that it trusts (--certificate, --key), with the name by which it knows us.",
)
_TLS = Remedy(
    "The two sides have no TLS version or cipher in common, or the port does not speak TLS.",
    "Use TLS 1.2 or 1.3 (`traffic.tls.versions`), and the TLS port: 443. Port 5070 is plain TCP.",
)
_NOT_TLS = Remedy(
    "The other side broke off TLS.", "Make sure that this is the TLS port (443), and ask the operator for its log."
)
_TRUST = Remedy(
    "We do not know the authority that signed the trunk's certificate, or a certificate between the two is missing.",
    "Name the operator's CA file with --ca. If that is right, the server must send its whole chain.",
)
_ONE_WAY = Remedy(
    "The call is up, but no audio reaches us: a private address in an SDP, or UDP that is blocked one way.",
    "Open UDP 10000-40000 both ways to the trunk's media servers. Behind a NAT tell the public address "
    "(`external_address`), and use symmetric RTP (nat=force_rport, comedia).",
)
_IDLE = Remedy(
    "Audio stopped in mid-call: often the idle timeout of a firewall, or a hold without an offer.",
    "Make the UDP timeout of firewall and NAT longer than 60 s, and send audio or keep-alives in silence.",
)
_KEYS = Remedy(
    "Packets came, but cannot be decrypted with the key of the SDP: keys were mixed up, or audio was changed.",
    "Switch SIP ALG off, and look at the a=crypto lines at both ends of the path. Send the operator a capture.",
)
_ALG = Remedy(
    "Something between us and the trunk reads and changes SIP: a SIP ALG in a router or firewall.",
    "Switch the SIP ALG off (also called SIP helper, SIP inspection or fixup). TLS end to end makes it powerless.",
)
_NAT = Remedy(
    "A NAT stands between us and the trunk, and our messages name an address that nobody outside can reach.",
    "Tell the public address (`external_address`; in Asterisk external_media_address and "
    "external_signaling_address), use rport and symmetric RTP, and forward the ports of SIP and RTP.",
)
_CUT_OFF = Remedy(
    "Calls that end after about 30 s: the trunk got no ACK for its 200, or no RTP.",
    "Behind a NAT: symmetric RTP and rport (nat=force_rport), and a Contact with the public address. Keep the "
    "connection open: the ACK goes to the address of the trunk's Contact and Record-Route.",
)
_REACH = Remedy(
    "A request to our Contact did not come through, so calls that the trunk ends, or sends us, may fail.",
    "Let the trunk reach this host at the port of our Contact (5061), or keep the connection open. "
    "Whitelist the trunk's addresses in your firewall.",
)
_REPORT = Remedy(
    "The other side has a fault of its own.",
    "Send the operator account SID, trunk, time, CallSid, Call-ID and the SIP trace.",
)
_CARRIED = Remedy("The number called refused, or was not answered.", "Nothing, if that is what it should do.")
_BUFFERS = Remedy(
    "The system holds few bytes of UDP for a socket, so a busy moment may lose packets.",
    "Raise net.core.rmem_max and net.core.rmem_default to 1048576 or more.",
)

_REMEDIES = _keyed(
    {
        # The SIP statuses to expect of the trunk (RFC 3261 section 21).
        Status(400): Remedy(
            "The trunk could not read our headers or our SDP.",
            "Compare the INVITE with the operator's sample. Added headers (`headers`) are the first to look at.",
        ),
        Status(401): _CREDENTIALS,
        Status(403): _IDENTITY,
        Status(404): _NUMBER,
        Status(407): _CREDENTIALS,
        Status(408): Remedy("The trunk gave up: the called side did not answer in time.", _CARRIER.action),
        Status(415): _CODEC,
        Status(420): Remedy(
            "The trunk does not know an extension that we require.", "Take it out of Require (`headers`)."
        ),
        Status(480): _CARRIED,
        Status(481): Remedy(
            "The other side does not know the call (any more).",
            "Look whether it ended the call before, or whether a request came to another server than the INVITE.",
        ),
        Status(484): _NUMBER,
        Status(486): _CARRIED,
        Status(488): Remedy(
            "Our SDP does not suit the trunk: codec, or SRTP against plain RTP.",
            "Offer PCMA and PCMU on RTP/SAVP with a=crypto AES_CM_128_HMAC_SHA1_80.",
        ),
        Status(500): _REPORT,
        Status(502): _CARRIER,
        Status(503): Remedy(
            "The trunk has no room: its calls-per-minute limit, its channels, or an overload. Its Reason says which.",
            "Look at rate and calls at once. `trunkproof identify` tells what the limit is.",
        ),
        Status(504): _CARRIER,
        Status(600): _CARRIED,
        Status(603): _CARRIED,
        # Q.850 causes (RFC 3326): they tell one 503 from another.
        Q850(1): _NUMBER,
        Q850(3): _NUMBER,
        Q850(17): _CARRIED,
        Q850(18): _CARRIED,
        Q850(19): _CARRIED,
        Q850(20): _CARRIED,
        Q850(21): _CARRIED,
        Q850(27): _CARRIER,
        Q850(28): _NUMBER,
        Q850(34): _CHANNELS,
        Q850(38): _CARRIER,
        Q850(41): _CARRIER,
        Q850(42): _THROTTLE,
        Q850(47): Remedy(
            "The trunk has no free media ports.", "Ask for fewer calls at once, and tell the operator the time."
        ),
        Q850(57): _IDENTITY,
        Q850(58): _CHANNELS,
        Q850(65): _CODEC,
        Q850(79): _CODEC,
        Q850(88): _CODEC,
        Q850(102): _CUT_OFF,
        # Connection.
        ConnectFailure.REFUSED: _NOBODY,
        ConnectFailure.TIMEOUT: _NO_ANSWER,
        ConnectFailure.CERTIFICATE: _TRUST,
        ConnectFailure.TLS: _TLS,
        ConnectFailure.RESET: Remedy(
            "The other side hung up before TLS was ready. Some trunks treat addresses so that they do not know.",
            _WHITELIST.action,
        ),
        CertificateFault.EXPIRED: Remedy(
            "The trunk's certificate is out of date.",
            "The operator must renew it. Check the clock of this machine first.",
        ),
        CertificateFault.NOT_YET_VALID: Remedy(
            "The trunk's certificate is valid only from a later day.", "Check the clock of this machine first."
        ),
        CertificateFault.WRONG_NAME: Remedy(
            "The certificate is valid, but for another host. Perhaps this is not the trunk.",
            "Call the trunk by the name in its certificate, or name that with --server-name. Otherwise the operator "
            "must have it issued for the right name.",
        ),
        CertificateFault.SELF_SIGNED: _TRUST,
        CertificateFault.UNKNOWN_AUTHORITY: _TRUST,
        CertificateFault.OTHER: _TRUST,
        TlsAlert.HANDSHAKE_FAILURE: _TLS,
        TlsAlert.PROTOCOL_VERSION: _TLS,
        TlsAlert.INSUFFICIENT_SECURITY: _TLS,
        TlsAlert.UNEXPECTED_MESSAGE: _NOT_TLS,
        TlsAlert.BAD_RECORD_MAC: _NOT_TLS,
        TlsAlert.ILLEGAL_PARAMETER: _NOT_TLS,
        TlsAlert.DECODE_ERROR: _NOT_TLS,
        TlsAlert.DECRYPT_ERROR: _NOT_TLS,
        TlsAlert.INTERNAL_ERROR: _NOT_TLS,
        TlsAlert.NO_CERTIFICATE: _OUR_CERTIFICATE,
        TlsAlert.BAD_CERTIFICATE: _OUR_CERTIFICATE,
        TlsAlert.UNSUPPORTED_CERTIFICATE: _OUR_CERTIFICATE,
        TlsAlert.CERTIFICATE_REVOKED: _OUR_CERTIFICATE,
        TlsAlert.CERTIFICATE_EXPIRED: _OUR_CERTIFICATE,
        TlsAlert.CERTIFICATE_UNKNOWN: _OUR_CERTIFICATE,
        TlsAlert.CERTIFICATE_REQUIRED: _OUR_CERTIFICATE,
        TlsAlert.UNKNOWN_CA: _OUR_CERTIFICATE,
        TlsAlert.ACCESS_DENIED: _WHITELIST,
        TlsAlert.UNRECOGNIZED_NAME: Remedy(
            "The server has no certificate for the name that we asked for.",
            "Call the trunk by its own name, or give it with --server-name.",
        ),
        # Session descriptions.
        SdpFault.NO_SDP: _SDP,
        SdpFault.MALFORMED: _SDP,
        SdpFault.WRONG_STREAMS: _SDP,
        SdpFault.PORT_ZERO: _CODEC,
        SdpFault.PLAIN_RTP: _SRTP,
        SdpFault.NOT_PLAIN: _SRTP,
        SdpFault.WRONG_PROFILE: _SRTP,
        SdpFault.NO_CRYPTO: _SRTP,
        SdpFault.BAD_KEY: _SDP,
        SdpFault.SEVERAL_CRYPTO: _SDP,
        SdpFault.WRONG_TAG: _SDP,
        SdpFault.NO_COMMON_SUITE: Remedy(
            "The two sides have no crypto suite in common.", "Offer AES_CM_128_HMAC_SHA1_80 (`suites`)."
        ),
        SdpFault.WRONG_SUITE: _SDP,
        SdpFault.UNSUPPORTED_CRYPTO: _SDP,
        SdpFault.CRYPTO_PARAMETER: _SDP,
        SdpFault.REUSED_KEY: _SDP,
        SdpFault.NO_COMMON_CODEC: _CODEC,
        SdpFault.WRONG_DIRECTION: _SDP,
        # Audio.
        AudioFault.OURS: Remedy(
            "This machine could not send or receive the audio.", "Run `trunkproof check`, which looks at this machine."
        ),
        AudioFault.PLAIN_RTP: _SRTP,
        AudioFault.NOT_AUTHENTIC: _KEYS,
        AudioFault.FOREIGN: Remedy(
            "The audio of another call came: cross-talk.",
            "Stop the test, and send the operator both Call-IDs and a capture.",
        ),
        AudioFault.ONE_WAY: _ONE_WAY,
        AudioFault.SILENT: _IDLE,
        AudioFault.WRONG_TYPE: _CODEC,
        AudioFault.NO_ECHO: Remedy(
            "Audio came, but not our own: this is no echo, our audio does not arrive there, or it was transcoded.",
            "Make sure that the number echoes (`far_end`). If it does, our packets are lost on their way to the trunk: "
            "open UDP 10000-40000 towards its media servers.",
        ),
        AudioFault.UNSENT: Remedy(
            "This machine has no route to the address in the peer's SDP, or a firewall here refuses.",
            "Look at the address: a private one cannot be reached. Allow outgoing UDP.",
        ),
        # What `check` finds.
        PathFault.NAME_UNKNOWN: Remedy(
            "DNS knows no address for that name.", "Check its spelling, and the DNS server of this machine."
        ),
        PathFault.NOT_WHITELISTED: _WHITELIST,
        PathFault.WRONG_EXOPHONE: Remedy(
            "The number in From is no Exophone of this account, and the trunk rejects calls of others.",
            "Write an Exophone of the account into `traffic.callers`, in E.164, as the operator's dashboard shows it.",
        ),
        PathFault.WRONG_DOMAIN: Remedy(
            "The domain of From is not the account's.",
            "Set `account`: the domain must be <account>.pstn.exotel.com.",
        ),
        PathFault.WRONG_IDENTITY: _IDENTITY,
        PathFault.STRANGER_ADMITTED: Remedy(
            "The trunk admits a caller identity that is nobody's.",
            "Ask the operator to check the caller identity. Anybody on the whitelist can call under any number.",
        ),
        PathFault.NO_G711: _CODEC,
        PathFault.WANTS_PLAIN_RTP: _SRTP,
        PathFault.NO_OPTIONS: Remedy(
            "TLS is up, but nobody answers SIP: another service listens there, or the whitelist drops us silently.",
            _WHITELIST.action,
        ),
        PathFault.VIA_CHANGED: _ALG,
        PathFault.CONTACT_CHANGED: _ALG,
        PathFault.SDP_CHANGED: _ALG,
        PathFault.NAT: _NAT,
        PathFault.PRIVATE_ADDRESS: Remedy(
            "The other side's SDP names an address that only its own network can reach, so audio is lost.",
            "The side that wrote it must name its public address (in Asterisk external_media_address), or a SIP ALG "
            "has changed it: switch that off.",
        ),
        PathFault.RTP_FROM_ELSEWHERE: Remedy(
            "Audio comes from another address or port than the SDP says: a NAT, or a media server behind one.",
            "Use symmetric RTP, and open the firewall for all media servers of the trunk.",
        ),
        PathFault.MEDIA_CLOSED: Remedy(
            "Not one UDP packet of the media server came: neither audio nor RTCP. The ports are closed.",
            "Open UDP 10000-40000 both ways between this host and the trunk's media servers, without a SIP ALG. "
            "Allow the media servers' addresses too: they are others than that of signalling.",
        ),
        PathFault.POOR_NETWORK: Remedy(
            "The network is worse than voice takes: one-way delay below 150 ms, jitter below 30 ms, loss below 1 %.",
            "Give each call 80 to 100 kbit/s each way, let voice go first (DSCP EF), and try without Wi-Fi and VPN.",
        ),
        PathFault.ACK_LOST: _CUT_OFF,
        PathFault.DROPPED_EARLY: _CUT_OFF,
        PathFault.CONTACT_UNREACHABLE: _REACH,
        PathFault.NO_CALL_SID: Remedy(
            "The trunk sent no X-Exotel-CallSid, by which its support finds a call.",
            "Quote the Call-ID instead. If this should be the operator's trunk, check the address.",
        ),
        PathFault.NO_RESUMPTION: Remedy(
            "Each new connection costs both sides a full handshake.",
            "Keep connections open (`traffic.tls.policy`), or ask the operator for session tickets.",
        ),
        PathFault.CERTIFICATE_ENDS_SOON: Remedy(
            "The trunk's certificate ends within a month.", "Ask the operator when it is renewed."
        ),
        PathFault.MID_CALL_REFUSED: Remedy(
            "The trunk refused an offer in mid-call, so hold, resume and session refreshes fail.",
            "Do not use them on this trunk, or send the operator the SIP trace.",
        ),
        PathFault.CANCEL_IGNORED: Remedy(
            "A call that its caller gave up went on ringing.", "Send the operator the SIP trace of this call."
        ),
        PathFault.NO_DIGITS: Remedy(
            "No telephone-event was agreed, so keys (DTMF) do not arrive.",
            "Offer telephone-event/8000 with fmtp 0-15 or 0-16 (in Asterisk dtmf_mode=rfc4733).",
        ),
        PathFault.TOO_FEW_FILES: Remedy(
            "This process may not open as many files as the study's calls need sockets.", "Raise `ulimit -Hn`."
        ),
        PathFault.TOO_FEW_PORTS: Remedy(
            "There are fewer free UDP port pairs than calls at once.",
            "End the programs that hold UDP ports, or use several source addresses.",
        ),
        PathFault.SMALL_BUFFERS: _BUFFERS,
        PathFault.CLOCK_WRONG: Remedy(
            "The clock of this machine is not kept by NTP, so times in traces and certificates may be wrong.",
            "Switch time synchronisation on (chrony, systemd-timesyncd).",
        ),
        PathFault.TOO_SLOW: Remedy(
            "This machine cannot send and check the audio of as many calls as the study has at once.",
            "Use a faster machine, several workers (`--workers`), or fewer calls at once.",
        ),
        # Last, where nothing more telling is known.
        Disposition.THROTTLED: _THROTTLE,
        Disposition.NOT_WHITELISTED: _WHITELIST,
        Disposition.NO_CHANNEL: _CHANNELS,
        Disposition.NO_PORT: Remedy(
            "The trunk has no free media ports.", "Ask for fewer calls at once, and tell the operator the time."
        ),
        Disposition.CARRIER_REJECTED: _CARRIER,
        Disposition.BUSY: _CARRIED,
        Disposition.NO_ANSWER: _CARRIED,
        Disposition.TIMED_OUT: Remedy(
            "No final response came in time.",
            "If nothing came at all, look at firewall and whitelist. If it rang, nobody answered.",
        ),
        Disposition.CONNECTION_FAILED: _NO_ANSWER,
        Disposition.MEDIA_FAILED: _ONE_WAY,
        Disposition.UNAUTHORISED: _CREDENTIALS,
        Disposition.FORBIDDEN: _IDENTITY,
        Disposition.NOT_FOUND: _NUMBER,
        Disposition.NOT_ACCEPTABLE: _CODEC,
        Disposition.REDIRECTED: Remedy(
            "The trunk sent the call to another address, which is not followed.",
            "Call that address, or allow it (`follow_redirects`).",
        ),
        Disposition.DROPPED: _CUT_OFF,
    }
)
