"""Delta tables: schemas, commits, views and lineage."""
