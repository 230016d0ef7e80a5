"""Kamailio with rtpengine as the trunk, configured from a study."""
