"""The statistical suite: check the simulator against exact theory in long runs. Each check is one picture, one verdict.

It is slow on purpose. The tests run the quick size: the same code with fewer calls. It proves the model against
mathematics; `experiments.validation` proves it against a real trunk.
"""
