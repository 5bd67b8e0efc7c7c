"""The settings: their definition, their layers, and the form made from them."""
