"""Steps of a first day: a folder to begin in, and views for readers."""
