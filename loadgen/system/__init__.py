"""This machine: programs, cores, CPU quota, ports, event loop."""
