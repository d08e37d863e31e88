"""Tests mirror `jaxrl/` and `models/`; helpers are imported as `tests.<module>`."""
