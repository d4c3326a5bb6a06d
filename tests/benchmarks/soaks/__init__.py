"""Long seeded attacks on a run: `make soak` runs all; the suite runs a few cases of each."""
