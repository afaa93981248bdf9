"""Where photos come from: every source is fetched, inspected, checked and split into one photo set."""
