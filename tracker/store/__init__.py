"""Journey state in Redis."""
