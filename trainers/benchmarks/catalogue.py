"""The tasks of the method's suite, as known without loading them: group, language, size and source of the data.

Question counts are those of the published splits that lm-evaluation-harness 0.4.13 uses, and for our own four tasks
those of the published validation or test files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sweep.study import LANGUAGES
from sweep.study.sections.benchmarks import Benchmarks

Language = Literal["original", "additional"]
CLOZE = {language: f"cloze_{language}" for language in LANGUAGES}  # the embedded suite
CLOZE_QUESTIONS = 400  # per language, at most: as many as its held-out text has
TOKENS_PER_QUESTION = 900  # of a few-shot question, with all answers of a multiple choice: an order of magnitude


@dataclass(frozen=True)
class KnownTask:
    """One task of the suite. `stock` is the folder of the harness that defines it (None: our own task), `source` where
    its data come from, `generated` the largest number of tokens of an answer (0: answers are only compared by their
    likelihood).
    """

    name: str
    group: str
    questions: int
    stock: str | None
    source: str
    generated: int = 0

    @property
    def language(self) -> Language:
        return "additional" if self.group.startswith("Chinese") else "original"

    @property
    def unsafe(self) -> bool:
        """Whether scoring runs code that the model wrote."""
        return self.group == "code"


KNOWLEDGE, READING = "Chinese knowledge", "Chinese reading"
SUITE = (
    KnownTask("ceval-valid", KNOWLEDGE, 1346, "ceval", "ceval/ceval-exam"),
    KnownTask("cmmlu", KNOWLEDGE, 11582, "cmmlu", "haonan-li/cmmlu"),
    KnownTask("agieval_cn", KNOWLEDGE, 4209, "agieval", "hails/agieval-*", 32),
    KnownTask("drcd", READING, 3524, None, "DRCD_dev.json of github.com/DRCKnowledgeTeam/DRCD", 48),
    KnownTask("cmrc2018", READING, 3219, None, "cmrc2018_dev.json of github.com/ymcui/cmrc2018", 48),
    KnownTask("c3", READING, 3816, None, "c3-m-dev.json and c3-d-dev.json of github.com/nlpdata/c3"),
    KnownTask("lcsts", "Chinese summarising", 725, None, "PART_III.txt of LCSTS, on request from its authors", 48),
    KnownTask("mmlu", "English knowledge", 14042, "mmlu/default", "cais/mmlu"),
    KnownTask("bbh", "English reasoning", 6511, "bbh/cot_fewshot", "SaylorTwift/bbh", 1024),
    KnownTask("triviaqa", "English knowledge", 17944, "triviaqa", "mandarjoshi/trivia_qa", 32),
    KnownTask("agieval_en", "English reasoning", 3856, "agieval", "hails/agieval-*", 32),
    KnownTask("gsm8k", "math", 1319, "gsm8k", "openai/gsm8k", 256),
    KnownTask("hendrycks_math", "math", 5000, "hendrycks_math", "EleutherAI/hendrycks_math", 256),
    KnownTask("humaneval", "code", 164, "humaneval", "openai/openai_humaneval", 512),
    KnownTask("mbpp", "code", 500, "mbpp", "google-research-datasets/mbpp", 256),
    KnownTask("eq_bench", "emotional intelligence", 171, "eq_bench", "pbevan11/EQ-Bench", 80),
)
BY_NAME = {known.name: known for known in SUITE}


def known(task: str) -> KnownTask | None:
    """The entry of the suite for a task, or for the task that it is a subject of (cmmlu_anatomy: cmmlu)."""
    prefixes = [name for name in BY_NAME if task == name or task.startswith(f"{name}_")]
    if not prefixes and task.startswith("agieval_"):
        return BY_NAME["agieval_cn" if "gaokao" in task or "jec" in task or task.endswith("zh") else "agieval_en"]
    return BY_NAME[max(prefixes, key=len)] if prefixes else None


def cloze(benchmarks: Benchmarks) -> list[str]:
    """The tasks of the embedded suite, where the study uses it."""
    return list(CLOZE.values()) if benchmarks.suite == "embedded" else []


def all_tasks(benchmarks: Benchmarks) -> list[str]:
    """All tasks that a study is scored on, in the order in which they run."""
    return [*cloze(benchmarks), *harness_tasks(benchmarks)]


def harness_tasks(benchmarks: Benchmarks) -> list[str]:
    """The tasks of lm-evaluation-harness that a study is scored on, in the order in which they run, each once."""
    suite = [task.name for task in SUITE] if benchmarks.suite == "almr" else []
    names = dict.fromkeys([*suite, *benchmarks.tasks])
    return [name for name in names if benchmarks.unsafe_code or not ((task := known(name)) and task.unsafe)]
