"""Trains models, and measures how well they read pictures."""
