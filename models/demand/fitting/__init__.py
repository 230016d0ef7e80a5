"""A call history -> the traffic that made it: `fit_history`."""
