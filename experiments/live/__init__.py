"""A run while it lasts: on the terminal, as a page, for Prometheus, and its controls."""
