"""Run the profiles of `studies/suite` on every stack, and judge them in one table."""
