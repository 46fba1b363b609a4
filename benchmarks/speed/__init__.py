"""Measures time, memory and instructions."""
