"""Listings: properties as a PMS describes them, synced page by page, with their pictures copied to the CDN bucket."""
