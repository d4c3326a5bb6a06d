"""Tests, benchmarks, and what writes the documents."""
