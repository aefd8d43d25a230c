"""Bytes, keys and signatures."""
