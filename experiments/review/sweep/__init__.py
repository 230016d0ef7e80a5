"""The judged periods, simulated under each throttle at a few levels of demand."""
