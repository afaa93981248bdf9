"""How a network is judged: figures, calibration, robustness, the report."""
