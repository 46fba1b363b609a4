"""Compares the embedded model with other OCR systems."""
