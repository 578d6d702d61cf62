"""Runs compiled kernel files, without TVM: arrays, thread pool, calls; an emulator for kernels of aarch64."""
