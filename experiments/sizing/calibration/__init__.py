"""What a stack spends on each kind of work, found by making it do known amounts of each."""
