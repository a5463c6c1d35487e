"""OpenVLA: being written."""
