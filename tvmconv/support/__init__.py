"""What every package may use: text, files, JSON lines, worker processes. It knows nothing of convolutions."""
