"""What leaves the tables: old rows, and whoever is to be forgotten."""
