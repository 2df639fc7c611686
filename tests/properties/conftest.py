"""How hard the properties look: the same 100 examples each on every run, or with `PROPERTY_EXAMPLES=3000` so many
new ones (what they find is kept in `.hypothesis` and tried first the next time)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = os.environ.get("PROPERTY_EXAMPLES")

settings.register_profile(
    "properties",
    max_examples=int(_EXAMPLES or 100),
    derandomize=_EXAMPLES is None,
    deadline=None,  # a busy machine is no bug
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("properties")
