"""The answer in words and tables for people."""
