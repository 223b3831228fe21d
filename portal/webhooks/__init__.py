"""Telling integrators what changed: endpoints, events, and deliveries that are tried until they arrive."""
