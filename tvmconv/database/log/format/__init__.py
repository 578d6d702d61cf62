"""A line of a tuning log: its fields, its key, the versions of what made it."""
