"""The curated-package controller."""
