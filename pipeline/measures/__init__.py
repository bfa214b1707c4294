"""The mathematics: arrays in, arrays out. No files, no tables, no torch."""
