"""The model of `simulator.trunk`, compiled: the same calls at the same instants to the last bit, but many times faster.

Begin to read in `loop`. `running` lets it run from Python, `life` holds the steps of a call, and `memory` the arrays.
"""
