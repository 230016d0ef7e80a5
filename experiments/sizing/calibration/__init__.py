"""Measure what a stack spends on each kind of work: make it do known amounts of each, and meter its CPU."""
