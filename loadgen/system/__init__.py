"""This machine: processes, cores, CPU quota, event loop."""
