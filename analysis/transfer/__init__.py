"""From the small model's winner to the large model's setting."""

from analysis.transfer.result import Transfer
from analysis.transfer.rules import carry, direct

__all__ = ["Transfer", "carry", "direct"]
