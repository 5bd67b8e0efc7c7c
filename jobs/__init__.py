"""The steps of the pipeline, one module each, and the nouns that they share."""
