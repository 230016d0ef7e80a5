"""Shared by simulator and load generator: values and mathematics. No socket, no SimPy, no wall clock."""

import os

# Matrices here are small, and several processes share the cores: threads of BLAS that fight over them made the level of
# half a year's history take seconds instead of a fifth of one. Set before numpy is imported; who sets it is obeyed.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
