"""Metrics, the questions that are asked, and how models are compared."""
