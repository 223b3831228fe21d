"""Infrastructure without domain knowledge: buckets, jobs, encryption, forms, processes."""
