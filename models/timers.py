"""How long SIP waits: the timers of RFC 3261 (table 4) and RFC 6026 over TLS, which is reliable, and our own retry.

Model and load generator wait the same times.

    timer     whose                 what it bounds                           over TLS
    A, E      client                wait before the request is repeated      does not run
    B         INVITE client         wait for any response                    64*T1 = 32 s
    F         non-INVITE client     wait for the final response              64*T1 = 32 s
    D, K      client                wait for repeated final responses        0
    M         INVITE client         wait for repeated and forked 2xx         64*T1 = 32 s (RFC 6026)
    G         INVITE server         wait before a failure is repeated        does not run
    H         INVITE server         wait for the ACK of a failure            64*T1 = 32 s
    I         INVITE server         wait for repeated ACKs                   0
    J         non-INVITE server     wait for repeated requests               0
    L         INVITE server         wait for repeated INVITEs after a 2xx    64*T1 = 32 s (RFC 6026)

TLS loses nothing, so a transaction never repeats a message, and most transactions end with their final response.
Two INVITE transactions last longer: after a 2xx (L and M), and after a failure that awaits its ACK (H).
The 2xx itself is repeated over TLS too, because its ACK travels end to end: `dialog.AnswerRepeater` does it, after T1,
then after twice as long each time up to T2.
"""

from typing import Final

T1_S: Final = 0.5
T2_S: Final = 4.0
TRANSACTION_TIMEOUT_S: Final = 64 * T1_S
"""Timers B, F, H, L and M. A 2xx waits as long for its ACK (RFC 3261 section 13.3.1.4)."""
CONNECT_TIMEOUT_S: Final = 10.0
"""How long a TCP connection with its TLS handshake may take; no standard says it."""
EDGE_RETRY_S: Final = 0.1
"""A BYE that finds the edge down tries to connect again this often; no standard says how often."""
