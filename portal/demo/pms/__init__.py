"""A PMS to try things with: a server on this machine that speaks as a real one does, and serves its pictures."""
