"""How a network is evaluated: figures, calibration, robustness, plots, the report and the drift reference."""
