"""Activations on disk, with the moments and tokens they belong to."""
