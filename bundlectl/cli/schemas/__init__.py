"""JSON Schemas of what ``--output json`` shows, one file a document."""
