"""The FLAME-family head: parameters in, posed mesh out; its file readers, UV layout and landmarks."""
