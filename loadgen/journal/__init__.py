"""The journal of a run: what happened, on disk within a second, one append-only file for each process."""
