"""Kernels on remote devices: the server, its deployment, and a client whose every step has a deadline.

`server/`, in C, speaks TVM's RPC protocol through TVM's own runtime libraries. `server_build` compiles it, `runtime`
gets what it needs besides, `bundle` makes the folder for a device, `deploy` sends and starts it, `doctor` says what is
wrong; `emulate` starts such a folder, or the server natively, here, with a `tracker`.

Light: address and tracker_client need no TVM; what speaks its RPC protocol (client) does so in a process of its own.
"""
