"""What are these bytes, and what do they look like? Pure: bytes in, bytes out; no network, no rows."""
