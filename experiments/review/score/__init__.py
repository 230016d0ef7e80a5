"""After a raise: the new history against what the review forecast."""
