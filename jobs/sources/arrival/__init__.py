"""What arrives, beside what is there already: completed, then committed."""
