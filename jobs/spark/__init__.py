"""Spark sessions, the Java under them, and what executors are sent."""
