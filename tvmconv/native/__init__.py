"""C sources that go into kernels and programs, and zig, which compiles and links them."""
