"""The conversations of a corpus as token ids and targets on disk, in their order, cut to the length of a sequence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import InputError
from sweep.study.numbers import percent
from trainers.data.conversations import messages
from trainers.data.conversations.rendering import FIELD, ChatRenderer, Rendered, UnsuitedError

log = logging.getLogger(__name__)
IDS, TARGETS, COUNTS = "tokens.int32", "targets.uint8", "counts.npy"
AT_ONCE = 500  # conversations


class ConversationCounts(NamedTuple):
    """Of one conversation: its tokens that are used, all of them, those of the targets that are used, all targets, the
    UTF-8 bytes of what is said, and of what the assistant says; 1 where a message holds a special token's string.
    """

    tokens: int
    all_tokens: int
    targets: int
    all_targets: int
    bytes: int
    target_bytes: int
    imitates: int


@dataclass(frozen=True)
class TokenisedConversations:
    """`counts`: a row for each conversation, with the fields of `ConversationCounts`."""

    folder: Path
    counts: NDArray[np.int64]

    @staticmethod
    def opened(folder: Path) -> TokenisedConversations:
        return TokenisedConversations(folder, np.load(folder / COUNTS))

    def of(self, name: str) -> NDArray[np.int64]:
        """A field of `ConversationCounts`, of every conversation."""
        return self.counts[:, ConversationCounts._fields.index(name)]

    def read(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The token ids of a conversation, and 1 for each that is a target."""
        end = int(self._ends[row])
        first = end - int(self.counts[row, 0])
        return self._ids[first:end], self._targets[first:end]

    @property
    def usable(self) -> NDArray[np.intp]:
        """The numbers of those that can be trained on or held out."""
        return np.flatnonzero((self.of("targets") > 0) & (self.of("imitates") == 0))

    def tell(self, where: str, length: int) -> None:
        """Say which are left out or cut. Raises InputError where none is left."""
        self._tell_imitating(where)
        self._tell_longer(where, length)
        if not len(self.usable):
            raise InputError(f"{where}: no conversation is left: mend what the warnings above say, or add others")

    def _tell_imitating(self, where: str) -> None:
        found = np.flatnonzero(self.of("imitates"))
        if not len(found):
            return
        what = "the string of a special token of the tokenizer (such as its end of a turn) in a message"
        fix = "it would be read as that token: write it otherwise, or remove them"
        if len(found) == len(self.counts):
            raise InputError(f"{where}: each of its {len(found):,} conversations has {what}: {fix}")
        log.warning(
            "%s: %d of %d conversations (the first is number %d) have %s and are left out: %s",
            where,
            len(found),
            len(self.counts),
            found[0] + 1,
            what,
            fix,
        )

    def _tell_longer(self, where: str, length: int) -> None:
        longer = self.of("all_tokens") > length
        if not longer.any():
            return
        without = int((self.of("targets") == 0).sum())
        if without == len(self.counts):
            raise InputError(
                f"{where}: in each of its {without:,} conversations the assistant speaks after the first {length:,} "
                f"tokens, so nothing would be learned: raise training.sequence_length"
            )
        cut = int((self.of("all_tokens") - self.of("tokens")).sum())
        log.warning(
            "%s: %d of %d conversations are longer than training.sequence_length %d: their ends (%s of all tokens) are "
            "cut off%s",
            where,
            int(longer.sum()),
            len(self.counts),
            length,
            percent(cut / float(self.of("all_tokens").sum()), 1),
            f"; {without:,} have no target before that and are left out" if without else "",
        )

    @cached_property
    def _ids(self) -> NDArray[np.int32]:
        return np.memmap(self.folder / IDS, np.int32, "r")

    @cached_property
    def _targets(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / TARGETS, np.uint8, "r")

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.counts[:, 0])


def tokenise(
    texts: datasets.Dataset,
    renderer: ChatRenderer,
    length: int,
    folder: Path,
    where: str,
    progress: Callable[[float], None],
) -> None:
    """Write conversations into a folder, for `TokenisedConversations.opened`. Memory holds a batch, and the counts.

    Raises InputError that names the conversation for one that the template does not suit.
    """
    counts: list[ConversationCounts] = []
    with (folder / IDS).open("wb") as ids, (folder / TARGETS).open("wb") as targets:
        for first in range(0, len(texts), AT_ONCE):
            for text in texts[first : first + AT_ONCE]["text"]:
                conversation = messages.of(text)
                rendered = _rendered(renderer, conversation, where, len(counts) + 1)
                counts.append(_counted(rendered, conversation, length, renderer.imitates(conversation)))
                np.asarray(rendered.ids[:length], np.int32).tofile(ids)
                np.asarray(rendered.targets[:length], np.uint8).tofile(targets)
            progress(len(counts) / len(texts))
    np.save(folder / COUNTS, np.asarray(counts, np.int64))


def _rendered(renderer: ChatRenderer, conversation: list[messages.Message], where: str, number: int) -> Rendered:
    try:
        return renderer.render(conversation)
    except UnsuitedError as error:
        roles = ", ".join(message["role"] for message in conversation[:4])
        raise InputError(f"{where}: conversation {number:,} ({roles}, ...): {FIELD}: {error}") from None


def _counted(
    rendered: Rendered, conversation: list[messages.Message], length: int, imitates: bool
) -> ConversationCounts:
    sizes = {message["role"]: 0 for message in conversation}
    for message in conversation:
        sizes[message["role"]] += len(message["content"].encode())
    tokens = len(rendered.ids)
    used = sum(rendered.targets[:length])
    return ConversationCounts(
        min(tokens, length),
        tokens,
        used,
        sum(rendered.targets),
        sum(sizes.values()),
        sizes["assistant"],
        int(imitates),
    )
