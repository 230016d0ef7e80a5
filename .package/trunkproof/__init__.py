"""Predict what a SIP trunk can carry, then prove it with real encrypted calls."""
