"""Inspect, render and strip image files. Bytes in, bytes out: no network, no database."""
