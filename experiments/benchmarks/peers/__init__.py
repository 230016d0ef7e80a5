"""What ours is compared with, and what plays the other side of all that are compared."""
