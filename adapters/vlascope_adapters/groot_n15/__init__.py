"""N1.5: being written."""
