"""Linear probes: what can be read off an activation, beside what could be read off without it."""
