"""The language model and the towers over it, as PyTorch modules."""
