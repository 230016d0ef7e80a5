"""The profiles of `studies/suite` on every stack, judged and kept in one table."""
