"""The error for wrong input from a user."""

from __future__ import annotations


class InputError(ValueError):
    """Wrong input from a user. The message names file, field and fix; it is shown as one line, with exit status 2."""
