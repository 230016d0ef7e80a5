"""The programs that ours is compared with, and the far side of all of them."""
