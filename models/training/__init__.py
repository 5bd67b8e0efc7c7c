"""The fine-tune itself: the loop, its checkpoints and the weights that it writes."""
