"""Kernels on devices: the server in C that a device runs, its bundle, TVM's tracker, an emulated device.

`server/` speaks TVM's RPC protocol through TVM's own runtime libraries. `server_build` compiles it, `runtime` gets what
it needs besides, `bundle` makes the folder for a device, `emulate` starts such a folder, or the server natively, here,
with a `tracker`.
"""
