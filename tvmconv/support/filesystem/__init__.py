"""Files and folders: atomic writes, private and temporary folders, XDG paths."""
