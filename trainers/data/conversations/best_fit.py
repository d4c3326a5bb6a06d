"""Packing of conversations into blocks, none of which is cut, and none of whose gaps is padding.

Best-fit decreasing (Ding et al., 2024, arXiv 2404.10830): the longest first, each into the fullest block that holds it.
The gap at the end of a block is filled with the beginning of a conversation that stands whole in another block. So all
blocks are full, and shares of blocks stay shares of tokens; no token lacks the context before it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

import numpy as np

SEED = 0


def packed(sizes: Sequence[int], length: int) -> list[list[int]]:
    """The numbers of the conversations in each block of `length` tokens. `sizes`: their tokens, none over `length`."""
    blocks: list[list[int]] = []
    room: dict[int, list[int]] = {}  # blocks by the tokens that are left in them
    known: list[int] = []  # keys of `room`, ascending
    for row in np.argsort(-np.asarray(sizes), kind="stable").tolist():
        size = int(sizes[row])
        at = bisect_left(known, size)
        if at == len(known):
            block, left = len(blocks), length - size
            blocks.append([row])
        else:
            left = known[at]
            block = room[left].pop()
            blocks[block].append(row)
            if not room[left]:
                del room[left], known[at]
            left -= size
        if left and left not in room:
            insort(known, left)
        if left:
            room.setdefault(left, []).append(block)
    return blocks


def filled(
    blocks: Sequence[Sequence[int]], sizes: Sequence[int], length: int
) -> Iterator[tuple[Sequence[int], list[tuple[int, int]]]]:
    """Each block, and what fills its gap: numbers of conversations, with how many tokens of their beginnings.

    They are taken in turn, in a fixed random order, so that none is repeated much more than another.
    """
    turn = itertools.cycle(np.random.default_rng(SEED).permutation(len(sizes)).tolist())
    alone = len(blocks) == 1
    for block in blocks:
        gap, inside = length - sum(int(sizes[row]) for row in block), set() if alone else set(block)
        pieces = []
        while gap:
            row = next(other for other in turn if other not in inside)
            pieces.append((row, min(gap, int(sizes[row]))))
            gap -= pieces[-1][1]
        yield block, pieces
