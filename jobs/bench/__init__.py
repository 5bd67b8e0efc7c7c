"""Measurements of speed, memory and methods."""
