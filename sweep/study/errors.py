"""The error that a user's input causes."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from a user: the message names the file, the field and the fix. Shown as one line, exit status 2."""
