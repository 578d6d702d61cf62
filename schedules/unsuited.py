"""The error for a tile that fits the instruction set but not the layer."""


class Unsuited(ValueError):
    """The tile fits the instruction set, but does not divide this layer."""
