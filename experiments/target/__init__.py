"""A trunk that is not ours: what can be told of it from outside."""
