"""Small local copies of HumanEval, MBPP and EQ-Bench in their published layout, with problems of our own, and for each
problem an answer that is right and one that is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HUMANEVAL = [
    {
        "task_id": "HumanEval/0",
        "prompt": (
            "from typing import List\n\n\ndef running_sum(numbers: List[int]) -> List[int]:\n"
            '    """ For each place, the sum of the numbers up to it.\n'
            '    >>> running_sum([1, 2, 3])\n    [1, 3, 6]\n    """\n'
        ),
        "entry_point": "running_sum",
        "canonical_solution": (
            "    found, total = [], 0\n    for number in numbers:\n        total += number\n"
            "        found.append(total)\n    return found\n"
        ),
        "wrong": "    return [number for number in numbers]\n",
        "test": (
            "\n\nMETADATA = {\n    'author': 'almr',\n    'dataset': 'test'\n}\n\n\ndef check(candidate):\n"
            "    assert candidate([]) == []\n    assert candidate([1, 2, 3]) == [1, 3, 6]\n"
            "    assert candidate([5, -5, 2]) == [5, 0, 2]\n"
        ),
    },
    {
        "task_id": "HumanEval/1",
        "prompt": (
            "def is_mirrored(text: str) -> bool:\n"
            '    """ Whether a text reads the same from both ends.\n    >>> is_mirrored("level")\n    True\n    """\n'
        ),
        "entry_point": "is_mirrored",
        "canonical_solution": "    return text == text[::-1]\n",
        "wrong": "    return text[:1] == text[-1:]\n",
        "test": (
            "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate('level') is True\n"
            "    assert candidate('lever') is False\n    assert candidate('abca') is False\n"
        ),
    },
    {
        "task_id": "HumanEval/2",
        "prompt": (
            "def most_common(words):\n"
            '    """ The word that comes most often, the first of several.\n'
            "    >>> most_common(['a', 'b', 'b'])\n    'b'\n    \"\"\"\n"
        ),
        "entry_point": "most_common",
        "canonical_solution": "    return max(words, key=words.count)\n",
        "wrong": "    while True:\n        pass\n",
        "test": (
            "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(['a', 'b', 'b']) == 'b'\n"
            "    assert candidate(['x', 'y']) == 'x'\n"
        ),
    },
]
MBPP = [
    {
        "task_id": 11,
        "text": "Write a function to count the vowels of a given string.",
        "code": "def count_vowels(text):\r\n    return sum(letter in 'aeiou' for letter in text)",
        "wrong": "def count_vowels(text):\n    return len(text)",
        "test_list": [
            "assert count_vowels('almr') == 1",
            "assert count_vowels('') == 0",
            "assert count_vowels('aeiou') == 5",
        ],
    },
    {
        "task_id": 12,
        "text": "Write a function to find the second largest number of a list.",
        "code": "def second_largest(numbers):\r\n    return sorted(set(numbers))[-2]",
        "wrong": "import sys\ndef second_largest(numbers):\n    sys.exit(0)",
        "test_list": [
            "assert second_largest([1, 2, 3]) == 2",
            "assert second_largest([5, 5, 4]) == 4",
            "assert second_largest([-1, -2]) == -2",
        ],
    },
]
FEELINGS = ("Relieved", "Angry", "Curious", "Ashamed")
EQ_BENCH = [
    {
        "prompt": (
            f"Your task is to predict the likely emotional responses of a character in this dialogue:\n\nMei: I found "
            f"the letter that you hid {days} days ago.\nTom: Then you know why I stayed silent.\n\nAt the end of this "
            f"dialogue, Tom would feel:\n{chr(10).join(FEELINGS)}\n\nGive each of these possible emotions a score from "
            f"0-10.\n"
        ),
        "reference_answer": "{}",
        "reference_answer_fullscale": repr(
            {f"emotion{k}": name for k, name in enumerate(FEELINGS, 1)}
            | {f"emotion{k}_score": str(score) for k, score in enumerate((7, 1, 2, days), 1)}
        ),
    }
    for days in (3, 5, 8)
]


def feelings(*scores: int) -> str:
    """An answer to a question of EQ-Bench."""
    return "\n".join(f"{name}: {score}" for name, score in zip(FEELINGS, scores, strict=True))


def write(folder: Path) -> Path:
    """The copies, each question a line of JSON."""
    files = {"humaneval/test.jsonl": HUMANEVAL, "mbpp/test.jsonl": MBPP, "eq_bench/validation.jsonl": EQ_BENCH}
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({key: value for key, value in row.items() if key != "wrong"}) for row in rows]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def answers(right: bool) -> dict[str, str]:
    """By a part of the prompt: what a model says that knows every answer, or none."""
    said: dict[str, Any] = {row["entry_point"]: row["canonical_solution" if right else "wrong"] for row in HUMANEVAL}
    said |= {row["text"]: row["code" if right else "wrong"] for row in MBPP}
    for row, days in zip(EQ_BENCH, (3, 5, 8), strict=True):
        said[row["prompt"].split("\n\n")[1]] = feelings(7, 1, 2, days) if right else "I would not know."
    return said
