"""Each peer in one file, as its own documentation would have it; started in the folder of an unpacked archive."""
