"""Harbor's REST API, version 2.0, as far as a mirror has to do with it."""
