"""Verification: the definition of a convolution, and checks for exact equality between guard pages."""
