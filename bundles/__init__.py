"""Release documents: read, verified, locked, planned."""
