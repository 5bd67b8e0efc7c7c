"""The objective of a fine-tune: its data, examples, losses and penalties."""
