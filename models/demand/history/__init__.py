"""A customer's call history: read, cleaned, counted."""
