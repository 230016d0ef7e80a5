"""Generate call histories whose truth is known, to check the review against it."""
