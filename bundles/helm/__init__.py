"""Helm charts: read from archives and classic repositories, turned into OCI form, searched for images."""
