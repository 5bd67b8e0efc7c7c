"""Steps that look after a warehouse."""
