"""The report for whoever approves what crosses the gap (``docs/how-to/approve-what-crosses.md``): values to text."""
