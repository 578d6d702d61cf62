"""What is in a kernel file: its description, its C header, its ELF, and how it is loaded."""
