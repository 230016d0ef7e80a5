"""Asterisk, a back-to-back user agent, as a trunk and as the customer's PBX: its configuration from a study."""
