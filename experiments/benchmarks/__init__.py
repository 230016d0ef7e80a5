"""Benchmarks of the project's parts: speed, memory and punctuality, beside other programs in the same run.

`python -m trunkproof.experiments.benchmarks` runs all of them. Each module also runs by itself. Ratios carry over from
machine to machine better than figures do, so they come first.
"""
