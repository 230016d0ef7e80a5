"""Identify on simulated trunks: is the family right, what does it cost, is it ever sure and wrong.

`python -m trunkproof.experiments.verification.identify` prints the table.
"""
