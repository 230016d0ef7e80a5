"""Simulate the trunk: a plan executed in simulated time, as SimPy processes or compiled (`kernel`)."""
