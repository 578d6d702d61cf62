"""What a schedule raises for a tile that may do for other layers."""


class Unsuited(ValueError):
    """The tile fits the instruction set, but does not divide this layer."""
