"""LIBERO and LIBERO-PRO: tabletop manipulation told in words."""
