"""Steps that look back at published nights."""
