"""The base model's loss before the first trial."""
