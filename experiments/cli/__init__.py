"""The `trunkproof` command: it reads the words, calls the code, prints the result, and chooses the exit code."""
