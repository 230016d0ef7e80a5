"""The trunk's throttle: the limit on calls per minute, one file for each policy that an operator may use.

**What a throttle decides.** A call attempt comes. The throttle says at once: it passes, it passes after a delay, or it
is refused. It looks at nothing but the instants of earlier attempts. It does not know how long calls last: a trunk may
have room for ten more calls and refuse, or pass a call that then finds no channel.

**What a window is.** "200 calls per minute" does not say which minute.

- A *fixed* window begins at an instant of its own, such as each full minute, and the count starts again there. Around
  a boundary twice the limit may pass in a few seconds. Where the windows lie is the throttle's *anchor*.
- A *sliding* window is the minute before each call. No minute, wherever it begins, sees more than the limit.
- A *bucket* or a *shaper* has no window: the limit is a pace, one call every 0.3 s, with some slack.

**What counts.** If refused attempts do not count (*admitted*), a caller who tries again harms nobody. If they count
(*attempts*), redials use up the limit: a trunk that is once full of redials can stay full although the fresh calls
alone would fit. This is the difference that operators document least and customers feel most.

`registry` has the table of all policies.

Instants that differ by less than `SAME_INSTANT_S` are equal in every policy: who comes on a boundary belongs to what
begins there.

**Made of others.** A penalty box and a tandem have parts, each a policy with a throttle object of its own (`Joined`). A
part, or a whole throttle, may be a limit that several trunks share (`shared`): it is then the same object for all.

**A new policy** is one file here: its settings (a `Policy`), its throttle object (a `Throttle`), and its `decide` for
the compiled simulator. `policy` says what it must answer, `registry` makes it known. Reports, reviews, the analytic
twin, histories and both simulators then have it. A stack that can play it says so in its own folder of
`loadgen.stacks`; the others refuse the study and say why.
"""
