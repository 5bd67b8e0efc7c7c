"""Where tables may stand beside files in a folder: databases, Delta tables, several places."""
