"""Analyses: what a study computes from its own episodes between arms."""
