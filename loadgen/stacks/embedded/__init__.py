"""The embedded trunk: a trunk in Python, in its own process."""
