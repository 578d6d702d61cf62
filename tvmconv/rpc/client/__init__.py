"""The side of a remote device that runs here: sessions, kernels, probes and measurements over RPC."""
