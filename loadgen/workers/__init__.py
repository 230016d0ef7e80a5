"""Place one plan with several worker processes, and merge their results."""
