"""Properties and their galleries: images, uploads, imports, variants."""
