"""Shared by all questions: exit codes, quality targets, provenance, the writing of numbers."""
