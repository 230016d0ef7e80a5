"""Trunks to call."""
