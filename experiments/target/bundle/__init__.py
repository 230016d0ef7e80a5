"""Make a bundle for the operator's support from what a run has captured."""
