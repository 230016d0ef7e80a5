"""Identify: tell a trunk's throttle from the answers that callers get.

    attempts   what one attempt shows, and the bounds that it gives (`Attempt`, `observed`)
    judgement  what explains all attempts: `identify_attempts(attempts) -> Identification`
    habits     how the throttle refuses: statuses, causes, Retry-After
    guesses    the best description where none explains everything
    probe      when to place the next call: `Probe.next_probe(now)`, `Probe.observe(attempt)`
    recorded   attempts from the records of any run
    simulated  a trunk of known throttle, to try all of this on

The mathematics of each policy is in `models.throttles`.
"""
