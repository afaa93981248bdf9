"""A web page to try a fruity server: it talks HTTP to it through the client, and stores nothing by itself."""
