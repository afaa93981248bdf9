"""Each peer in one file, with both of its ways; started in the folder of an unpacked archive."""
