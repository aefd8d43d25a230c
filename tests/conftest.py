"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A laptop looks for new examples with each run; CI repeats the same ones, so that what it says is about the
# change. What is found anew belongs into an @example. Both take as long as a loaded machine needs.
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", settings.get_profile("laptop"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() == "true" else "laptop")
