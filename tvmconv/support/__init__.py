"""General helpers: text, files, JSON lines, worker processes. Nothing of convolutions."""
