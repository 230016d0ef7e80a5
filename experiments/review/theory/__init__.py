"""What exact formulas say of each limit, without simulating."""
