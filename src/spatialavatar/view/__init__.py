"""The browser viewer: an avatar's packet, the local server that hands it out, and the offline page."""
