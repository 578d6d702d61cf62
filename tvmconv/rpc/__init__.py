"""Kernels on other machines: the server that runs there, and the client that cannot hang.

Light: address and tracker_client need no TVM; what speaks its RPC protocol (client) does so in a process of its own.
"""
