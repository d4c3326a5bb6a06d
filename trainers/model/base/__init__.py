"""A look at the base model before the first trial, and the model with rows for a new vocabulary."""
