"""How a run becomes an archive."""
