"""From a customer's call history to a decision on its throttle: `review`."""
