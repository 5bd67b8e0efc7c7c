"""Ways to tune a language model, a file for each method; `choice.py` picks one by name."""
