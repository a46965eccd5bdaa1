"""Other people's sets, made ready: imported, or cut and tracked."""
