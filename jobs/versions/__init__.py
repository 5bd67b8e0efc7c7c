"""Model versions: the registry, and how one is made from settings and tables."""
