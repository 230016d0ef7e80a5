"""A call's audio as packets: G.711 in packets of 20 ms, one stream either way. How many there are, and how large.

Model, costs, forecast and load generator all count with these numbers; they stand nowhere else.
"""

from typing import Final

CLOCK_HZ: Final = 8000
"""Samples a second; in G.711 one octet each (RFC 3551 section 4.5.14)."""
PACKETS_PER_STREAM_S: Final = 50
"""Packets a second, one way."""
PACKETS_PER_CALL_S: Final = 2 * PACKETS_PER_STREAM_S
"""Both ways."""
PACKET_S: Final = 1 / PACKETS_PER_STREAM_S
"""How much audio a packet carries (packet time, `ptime`)."""
SAMPLES_PER_PACKET: Final = CLOCK_HZ // PACKETS_PER_STREAM_S
PAYLOAD_BYTES: Final = SAMPLES_PER_PACKET
SRTP_BYTES: Final = 12 + PAYLOAD_BYTES + 10
"""With the header (RFC 3550 section 5.1) and an 80-bit authentication tag (RFC 3711)."""
PACKET_BITS: Final = 8 * (SRTP_BYTES + 8 + 20 + 14)
"""On the wire, with UDP, IPv4 and Ethernet headers."""
STREAM_MBIT_PER_S: Final = PACKETS_PER_STREAM_S * PACKET_BITS / 1e6
"""Bandwidth of a call, one way."""
