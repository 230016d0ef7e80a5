"""Who calls and who answers: user agents, customers, the carrier, and their audio."""
