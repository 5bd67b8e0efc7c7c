"""The search of settings: its space and its trials."""
