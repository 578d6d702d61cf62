"""Times kernels and peers: probes of the machine, one process a contestant, interleaved rounds."""
