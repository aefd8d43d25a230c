"""The typed library: one verb a file."""
