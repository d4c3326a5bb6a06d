"""The loss of packed sequences: which tokens are predicted, and from which context.

With document masking a token attends to its own document only, positions restart with every document, and a document's
first token is not predicted, as the first of a sequence never is: it has no context. Rows of conversations (see
`trainers.data.conversations.rows`) say themselves which tokens are targets, and where conversations begin.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from trainers.data.conversations import rows
from trainers.data.tokens.borders import Borders
from trainers.model import output_layer
from trainers.model.chunked_loss import IGNORED


@dataclass(frozen=True)
class TokenLoss:
    """The loss of a causal language model of transformers.

    `borders` are the tokens between documents; None: no document masking, or rows of conversations, which have
    `masked` for it. `autocast`: compute in bfloat16 from float32 weights, which a sharded model does by itself.
    """

    model: Any
    autocast: bool = False
    borders: Borders | None = None
    masked: bool = False

    def sum(self, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        """Summed cross-entropy (nats) of the predicted tokens of `tokens` (sequences, length) or rows of conversations.

        Only the first `counted` sequences count (None: all): a worker with fewer sequences than others pads.
        """
        targets = self._targets(tokens, counted)
        more: dict[str, Any] = {"use_cache": False}  # with a cache transformers ignores document boundaries
        if self.borders is not None:
            more["position_ids"] = positions(tokens, self.borders)
        elif self.masked:
            more["position_ids"] = tokens[..., rows.POSITION]
        bfloat16 = torch.autocast(tokens.device.type, torch.bfloat16) if self.autocast else nullcontext()
        with bfloat16, output_layer.fused(self.model, targets) as fused:
            output = self.model(input_ids=rows.ids(tokens), **more).logits
        if fused:
            loss: torch.Tensor = output
            return loss
        # The last position has no target but stays: cutting it off would copy all logits, and their gradients.
        return cross_entropy(output.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")

    def predicted(self, tokens: torch.Tensor) -> int:
        """The number of tokens that `sum` predicts in these sequences."""
        if self.borders is None and not rows.are(tokens):
            return tokens.shape[0] * (tokens.shape[1] - 1)
        return int((self._targets(tokens, None) != IGNORED).sum())

    def _targets(self, tokens: torch.Tensor, counted: int | None) -> torch.Tensor:
        """The token to predict at every position, which is the next one, or IGNORED; (sequences, length)."""
        ids = rows.ids(tokens)
        targets = torch.full_like(ids, IGNORED)
        targets[:, :-1] = ids[:, 1:]
        if rows.are(tokens):
            targets[:, :-1][tokens[:, 1:, rows.TARGET] == 0] = IGNORED
        elif self.borders is not None:
            targets[:, :-1][self.borders.starts(tokens)] = IGNORED
        if counted is not None:
            targets[counted:] = IGNORED
        return targets


def positions(tokens: torch.Tensor, borders: Borders) -> torch.Tensor:
    """The position of each token in its document (sequences, length), from which transformers derives the documents."""
    index = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    starts = torch.zeros_like(tokens)
    starts[:, 1:] = torch.where(borders.starts(tokens), index[:, 1:], 0)
    return index - starts.cummax(dim=1).values
