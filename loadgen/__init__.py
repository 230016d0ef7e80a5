"""Real calls: a plan executed as SIP over TLS with SRTP."""
