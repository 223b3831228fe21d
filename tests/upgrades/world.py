"""What `make` and the test of an upgrade have in common: the world outside, at the addresses that the data names."""

PMS_PORT = 28491
HOOKS_PORT = 28492
ABOUT = "about.json"
"""In the data folder: what is known of it."""
