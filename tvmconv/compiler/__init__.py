"""From a request to a kernel file: TIR, LLVM, link; the cache; libraries of several kernels."""
