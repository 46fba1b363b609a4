"""Trains a network: planning, epochs, calibration, and the ensemble of document 001."""
