"""Whether a kernel is right: the definition of a convolution, and checks between guard pages for exact equality."""
