"""The stacks: the trunks that a run can start and call."""
