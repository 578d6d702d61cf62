"""Measured data: rows of results, tuning logs, and the choice of an algorithm and a tile from them."""
