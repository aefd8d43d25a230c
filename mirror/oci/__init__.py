"""Pure values of the OCI specifications."""
