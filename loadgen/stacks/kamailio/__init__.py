"""Kamailio with rtpengine as a trunk: their configuration from a study, and the two programs."""
