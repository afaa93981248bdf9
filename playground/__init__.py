"""A web page to try a fruity server: it talks HTTP to it, and stores a photo only with its correction."""
