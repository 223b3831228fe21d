"""The audit: compares the buckets with the inventory, and has damaged objects made again."""
