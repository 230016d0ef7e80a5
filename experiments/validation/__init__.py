"""Predict a study, place its calls for real, and compare both call by call."""
