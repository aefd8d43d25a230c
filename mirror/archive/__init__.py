"""Archives: transportable tars of an OCI image layout (ADR 4)."""
