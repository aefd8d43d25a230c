"""One file per key provider."""
