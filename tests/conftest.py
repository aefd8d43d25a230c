"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A laptop looks for new examples with each run; CI repeats the same ones, so that what it says is about the
# change, and takes as long as a loaded machine needs. What is found anew belongs into an @example.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI", "").lower() == "true":
    settings.load_profile("ci")
