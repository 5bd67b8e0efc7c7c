"""The data as arrays: interactions, splits, texts and attributes."""
