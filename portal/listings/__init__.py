"""Listings: homes as a PMS describes them, synced page by page, their pictures copied into the CDN bucket."""
