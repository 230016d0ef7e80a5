"""The statistical suite: the simulator against exact theory in long runs, each check one picture and one verdict.

Slow by intent; the quick size, the same code with fewer calls, is what the tests run. It proves the model against
mathematics, not against a trunk: that is `experiments.validation`.
"""
