"""Measure what a trunk spends while it is called: CPU, memory, sockets, its own counters, and whether it lives."""
