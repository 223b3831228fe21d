"""Fake PMSs for demos and tests: a local server with the API of a real one, which also serves the pictures."""
