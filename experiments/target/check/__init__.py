"""The check-up of a trunk before any load: what holds, what does not, and what to do."""
