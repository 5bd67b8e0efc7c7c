"""A small shop to begin with, which `nightrank init` writes."""
