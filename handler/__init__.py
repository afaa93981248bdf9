"""What answers: everything that ships inside the archive, and nothing else."""
