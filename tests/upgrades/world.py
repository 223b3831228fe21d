"""Shared by `make` and the upgrade test: the outside world, at the addresses that the data name."""

PMS_PORT = 28491
HOOKS_PORT = 28492
ABOUT = "about.json"
"""In the data folder: what is known of it."""
