"""Files and folders: whole or not at all, private, temporary, in their places in the user's home."""
