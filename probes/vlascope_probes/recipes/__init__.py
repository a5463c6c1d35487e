"""Study recipes of the probes package."""
