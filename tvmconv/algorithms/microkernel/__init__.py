"""The inner products that the algorithms share: packed weights, register tiles, epilogue, partition of the work."""
