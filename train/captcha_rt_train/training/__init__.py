"""Training: the plan, the epochs, the calibration, and the ensemble of document 001."""
