"""The parts of a kernel file: description, C header, ELF sections; and how it is loaded."""
