"""What differs between registry products, as data."""
