"""The machines that kernels are made for: instruction sets, CPU features, cores, devices; and register tiles."""
