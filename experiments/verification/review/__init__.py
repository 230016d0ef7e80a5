"""Examine the review from outside: histories with known truth, made by mechanisms that the fit does not assume.

    traffic, callers -> mechanism       who calls when, and what callers do when they do not get through
    kinds                               the kinds of history, with parameters drawn by seed
    enforced, kernel                    the throttles, written once more, and one day played under one
    export                              writes a mechanism's days as a customer's file
    scenario                            which raise the customer asks for; some are close calls between two candidates
    truth                               what really happens at each throttle, on fresh days of the mechanism
    answer                              the only module that knows what a `Review` looks like
    score, tables                       answers against truth

Nothing here uses the traffic model of the fit, of the simulator or of `experiments.histories`: what the review assumes
must not also make the histories that examine it.
"""
