"""What both halves agree on: values and mathematics. No socket, no SimPy, no wall clock."""
