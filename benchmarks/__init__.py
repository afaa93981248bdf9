"""fruity against its peers: one run, one table, one plot."""
