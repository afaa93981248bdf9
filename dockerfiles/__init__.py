"""The images, each with the files that only it needs."""
