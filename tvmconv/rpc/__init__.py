"""Kernels on other machines: the device server, its bundle and how it gets there, and the client."""
