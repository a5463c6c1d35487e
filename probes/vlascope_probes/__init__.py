"""Linear probes and directions."""
