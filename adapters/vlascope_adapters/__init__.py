"""First-party adapter plugins, one file or small folder per architecture."""
