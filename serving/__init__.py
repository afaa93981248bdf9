"""What runs a server from an archive, on a laptop and in the container."""
