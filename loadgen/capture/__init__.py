"""Keep the packets of failed and slow calls while a run lasts, with a bound on memory, for a bundle for support."""
