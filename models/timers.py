"""How long SIP waits: the timers of RFC 3261 table 4 and RFC 6026 over a reliable transport, and our own retry.

Model and load generator wait the same times.

Timers A, E and G do not run over TLS, and D, I, J and K are zero: a transaction is gone with its final response, except
an INVITE answered 2xx, which lingers to absorb repetitions (RFC 6026). Only the 2xx itself is repeated, end to end.
"""

from typing import Final

T1_S: Final = 0.5
T2_S: Final = 4.0
TRANSACTION_TIMEOUT_S: Final = 64 * T1_S
"""Timers B, F, H, L and M; also how long a 2xx waits for its ACK (RFC 3261 section 13.3.1.4)."""
EDGE_RETRY_S: Final = 0.1
"""A BYE that finds the edge down tries to connect again this often; no standard says how often."""
