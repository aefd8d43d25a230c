"""Registries and upstreams made up for trying and testing."""
