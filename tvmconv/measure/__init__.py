"""Times kernels and peers: probes of the machine, contestants in processes of their own, interleaved rounds."""
