"""The demo property of the first start, and fake PMSs. Its photos were drawn by code; nothing is downloaded."""
