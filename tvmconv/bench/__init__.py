"""What the benchmark commands do: plans, layers, comparisons, and results of other tools."""
