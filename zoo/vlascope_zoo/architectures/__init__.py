"""One file a family of policies."""
