"""Predict a study before any call is placed."""
