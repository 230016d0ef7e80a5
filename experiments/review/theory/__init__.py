"""Compute what each limit allows by exact formulas, without a simulation."""
