"""An outside test of the review: histories by mechanisms that its fit does not assume, with known truth, and scores.

    traffic, callers -> mechanism       who calls when, and what they do when they do not get through
    kinds                               the kinds of history, with parameters drawn by seed
    enforced, kernel                    the throttles in a few lines of their own, and one day played under one
    export                              a mechanism's days as a customer's file
    scenario                            which raise is asked for, some of them near the edge between two candidates
    truth                               what really happens at each throttle, from fresh days of the mechanism
    answer                              the only module that knows what a `Review` looks like
    score, table, picture               answers against truth

Nothing here uses the traffic model of the fit, of the simulator or of `experiments.histories`: what the review assumes
must not also make its examination.
"""
