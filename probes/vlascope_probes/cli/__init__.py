"""The commands of the probes package, each imported only when it is used."""
