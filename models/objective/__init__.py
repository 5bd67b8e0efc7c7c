"""What a fine-tune learns from: its data, examples, and penalties."""
