"""Questions asked of the two halves. `trunkproof` offers them by one name."""
