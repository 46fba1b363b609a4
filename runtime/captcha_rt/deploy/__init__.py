"""Writes what other programs need to serve a model."""
