"""The gate of the export: parity, and the stages of the compression."""
