"""First-party benchmark plugins."""
