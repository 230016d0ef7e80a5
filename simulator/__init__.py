"""The trunk as SimPy processes: a plan executed in simulated time."""
