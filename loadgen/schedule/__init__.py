"""When each call is placed, and by which process."""
