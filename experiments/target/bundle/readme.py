"""The words of a bundle: what is in it, how to open it, and the facts of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkproof.experiments.target.bundle.chosen import ChosenCall

_ALWAYS = """\
Calls of a SIP trunk, captured by trunkproof in its own sockets, on the customer's side.

summary.txt, summary.json   account, trunk, transport, times, Call-ID and X-Exotel-CallSid of each call
calls/*/ladder.txt          who sent what to whom, and when
calls/*/sip.txt             all SIP messages of the call
calls.pcapng                SIP and audio of the calls in the clear. Open it in Wireshark, then Telephony > VoIP Calls.
                            SDP says RTP/AVP and has no keys there, so that the audio is taken for what it is.

Of audio the first and the last seconds of a call are kept. Times are those of this machine's clock. What TCP sent again
cannot be seen. Headers below SIP and RTP are made from the true addresses and ports.
"""
_MASKED = """
Numbers, keys and credentials are masked: of a number the last two digits are left. Content-Length is that of the masked
body. All audio is silence here, and RTCP is left out: sequence numbers, times and lengths of the RTP packets are true.
"""
_UNMASKED = """
NOT MASKED. With these files everybody can read the SIP messages and hear the audio:

as_sent.pcapng              TLS and SRTP as they were sent and received, with the TLS secrets inside (Decryption Secrets
                            Block). Wireshark opens it decrypted. Other calls on the same connections are in it too.
                            {decode}
srtp_keys.txt               the SRTP keys of each call: ours for what we sent, theirs for what came

Wireshark does not decrypt SRTP: the same audio in the clear is in calls.pcapng.
"""
_CUT = (
    "Of at least one connection only the first bytes were kept: messages that are missing in as_sent.pcapng are\n"
    "in the other files."
)
_LABELS = {
    "account_sid": "account SID",
    "began_utc": "began (UTC)",
    "began_local": "began (local time)",
    "call_ids": "Call-ID",
    "x_exotel_call_sid": "X-Exotel-CallSid",
    "q850_cause": "Q.850 cause",
    "first_sign_after_s": "first sign after s",
    "mos": "MOS",
}
_USUAL_PORT = 5061


def readme(calls: Sequence[ChosenCall], *, masked: bool) -> str:
    """Return the text that explains a bundle."""
    if masked:
        return _ALWAYS + _MASKED
    streams = [one for call in calls for one in call.streams]
    ports = sorted({(one.peer if one.calls_out else one.local)[1] for one in streams} - {_USUAL_PORT})
    options = " ".join(f"-d tls.port=={port},sip" for port in ports)
    # Wireshark takes TLS on port 443 for HTTP, and knows SIP only on its own port.
    decode = f"Say that it is SIP: wireshark {options} as_sent.pcapng" if ports else ""
    whole = "" if all(one.complete for one in streams) else f"\n{_CUT}\n"
    return _ALWAYS + _UNMASKED.format(decode=decode) + whole


def summary(facts: Sequence[Mapping[str, Any]]) -> str:
    """Return the facts of the calls as text."""
    return "\n".join(_one(call) for call in facts)


def _one(call: Mapping[str, Any]) -> str:
    lines = []
    for name, value in call.items():
        if value is None or name == "name":
            continue
        text = ", ".join(value) if isinstance(value, list) else str(value)
        lines.append(f"    {_LABELS.get(name, name.replace('_', ' ')):<18} {text}")
    return "\n".join([call["name"], *lines]) + "\n"
