"""Kernels on devices: the server that runs there, the way it gets there, and the client that cannot hang.

`server/`, in C, speaks TVM's RPC protocol through TVM's own runtime libraries. `server_build` compiles it, `runtime`
gets what it needs besides, `bundle` makes the folder for a device, `deploy` sends and starts it, `doctor` says what is
wrong; `emulate` starts it, or the server natively, here, with a `tracker`.

Of the client `address` and `tracker_client` need no TVM; what speaks its RPC protocol (`client`, and in it
`device_session`, `remote_kernel`, `seat`) does so in a process of its own, to which `remote` gives deadlines.
"""
