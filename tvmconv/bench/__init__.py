"""Benchmarks: plans, layers, comparisons, imported results of other tools."""
