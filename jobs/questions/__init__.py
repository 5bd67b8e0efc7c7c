"""What a report asks of a version and its siblings on a split."""
