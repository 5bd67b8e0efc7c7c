"""Nights that have passed: what is chosen on them, and how a recipe is judged by them."""
