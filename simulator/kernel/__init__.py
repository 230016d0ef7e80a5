"""The model of `simulator.trunk`, compiled: the same calls, the same instants to the last bit, many times as fast."""
