"""Small local copies of benchmark data, in the formats in which they are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SQUAD = {
    "version": "1.3",
    "data": [
        {
            "title": "三国",
            "id": "1001",
            "paragraphs": [
                {
                    "id": "1001-10",
                    "context": "天下大势，分久必合，合久必分。",
                    "qas": [
                        {
                            "id": "1",
                            "question": "分久如何？",
                            "answers": [{"id": "1", "text": "必合", "answer_start": 7}],
                        },
                        {
                            "id": "2",
                            "question": "什么必分？",
                            "answers": [{"id": "1", "text": "合久", "answer_start": 10}],
                        },
                    ],
                }
            ],
        }
    ],
}
C3 = [[["女：你好。", "男：再见。"], [{"question": "谁说再见？", "choice": ["男", "女", "狗"], "answer": "男"}], "1-1"]]
LCSTS = "".join(
    f"<doc id={i}>\n    <human_label>{label}</human_label>\n    <summary>\n        天下分合</summary>\n"
    f"    <short_text>\n        天下大势，分久必合</short_text>\n</doc>\n"
    for i, label in enumerate((5, 1, 3))
)
GSM8K = [{"question": f"What is {i} plus {i}?", "answer": f"It is {2 * i}.\n#### {2 * i}"} for i in range(8)]
HUMANEVAL = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f"def add_{i}(a, b):\n    return a + b + {i}\n",
        "canonical_solution": "",
        "test": f"def check(candidate):\n    assert candidate(2, 3) == {5 + i}\n",
        "entry_point": f"add_{i}",
    }
    for i in range(2)
]
MBPP = [
    {
        "task_id": i,
        "text": f"Add {i} to a number.",
        "code": f"def plus(a):\n    return a + {i}",
        "test_list": [f"assert plus({j}) == {i + j}" for j in range(3)],
    }
    for i in range(2)
]
CMMLU = ",Question,A,B,C,D,Answer\n" + "".join(f"{i},第{i}题是什么？,甲,乙,丙,丁,{'ABCD'[i % 4]}\n" for i in range(6))
FILES: dict[str, Any] = {
    "drcd/DRCD_dev.json": json.dumps(SQUAD, ensure_ascii=False),
    "cmrc2018/cmrc2018_dev.json": json.dumps(SQUAD, ensure_ascii=False),
    "c3/c3-m-dev.json": json.dumps(C3, ensure_ascii=False),
    "c3/c3-d-dev.json": json.dumps(C3, ensure_ascii=False),
    "lcsts/PART_III.txt": LCSTS,
    "gsm8k/train.jsonl": "\n".join(map(json.dumps, GSM8K)),
    "gsm8k/test.jsonl": "\n".join(map(json.dumps, GSM8K)),
    "humaneval/test.jsonl": "\n".join(map(json.dumps, HUMANEVAL)),
    "mbpp/test.jsonl": "\n".join(map(json.dumps, MBPP)),
    "cmmlu/dev/agronomy.csv": CMMLU,
    "cmmlu/test/agronomy.csv": CMMLU,
}


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
