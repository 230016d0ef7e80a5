"""The `trunkproof` command: read the options, call the code, print the result, and choose the exit code."""
