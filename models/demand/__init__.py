"""The traffic behind a history of calls: `history` reads the calls, `fitting` finds what made them."""
