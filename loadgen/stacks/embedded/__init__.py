"""A trunk in Python, as a process of its own."""
