"""A study predicted, its calls placed for real, and both compared call by call."""
