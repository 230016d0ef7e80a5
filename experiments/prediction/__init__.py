"""The predicted half of a question, before any call is placed."""
