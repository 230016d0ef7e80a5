"""A load test with a verdict: place calls on a running trunk, judge them, say what went wrong."""
