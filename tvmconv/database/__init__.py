"""What has been measured: rows of results, tuning logs, and the choice of an algorithm and a tile by them."""
