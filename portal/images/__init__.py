"""Properties and their galleries: uploads, images, variants."""
