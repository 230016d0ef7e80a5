"""Name what our user agents can do, in one place: methods, extensions and bodies. Messages and screening read it here.

A peer relies on these (RFC 3261 sections 8.2 and 11.2), so nothing stands here that is not done.
"""

from __future__ import annotations

from typing import Final

ALLOW: Final = "INVITE, ACK, CANCEL, OPTIONS, BYE, INFO, NOTIFY, PRACK, UPDATE"
"""The methods that an endpoint really serves."""
EXTENSIONS: Final = ("100rel", "timer")
"""The option tags that may stand in Require: RFC 3262 and RFC 4028."""
SUPPORTED: Final = ", ".join(EXTENSIONS)
ACCEPT: Final = "application/sdp, multipart/mixed"
"""The bodies that an INVITE may have. Of a multipart body (RFC 5621) the session description is read."""
CAPABILITIES: Final = (
    ("Allow", ALLOW),
    ("Accept", ACCEPT),
    ("Accept-Encoding", "identity"),
    ("Supported", SUPPORTED),
)
"""The rows of a 200 to OPTIONS (RFC 3261 section 11.2)."""
