"""What learns: from a source of labelled photos to a run."""
