"""How fast, in how much memory and how evenly the project's parts run, side by side with others in one run.

`python -m trunkproof.experiments.benchmarks` runs all; each module also runs by itself. Ratios hold from machine to
machine better than figures do, so they come first.
"""
