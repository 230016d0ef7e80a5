"""The parties of a call: user agents, customers, the carrier, and their audio."""
