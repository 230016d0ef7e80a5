"""Call histories with known truth, to hold the review against."""
