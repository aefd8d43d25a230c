"""Content: registries, layouts and archives, and copying between them."""
