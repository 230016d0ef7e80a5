"""Asterisk, a back-to-back user agent, as the trunk or as a customer's PBX, configured from a study."""
