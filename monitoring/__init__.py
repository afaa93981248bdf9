"""How what is served is watched: the prediction log, drift, corrections and the loop."""
