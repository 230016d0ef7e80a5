"""Several worker processes that place one plan together: whose each call is, the processes, their results merged."""
