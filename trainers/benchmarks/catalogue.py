"""What is known of the method's suite before any of it is loaded: groups, languages, sizes, where the data come from.

Question counts are those of the published splits that lm-evaluation-harness 0.4.13 asks, and of the published
validation or test files for the four tasks of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sweep.study.fields import LANGUAGES
from sweep.study.sections.benchmarks import Benchmarks

Language = Literal["original", "additional"]
CLOZE = {language: f"cloze_{language}" for language in LANGUAGES}  # the embedded suite, of our own code
CLOZE_QUESTIONS = 400  # of a language, where its held-out text has as many
TOKENS_PER_QUESTION = 900  # a few-shot question; of a choice, all of its answers: an order of magnitude


@dataclass(frozen=True)
class KnownTask:
    """`stock` is the harness' folder that defines the task, None for one of ours; `source` is where its data come from.

    `generated` is how many tokens an answer takes at most, 0 where answers are only compared by their likelihood.
    """

    name: str
    group: str
    language: Language
    questions: int
    stock: str | None
    source: str
    generated: int = 0
    unsafe: bool = False


def _chinese(name: str, group: str, questions: int, stock: str | None, source: str, generated: int = 0) -> KnownTask:
    return KnownTask(name, group, "additional", questions, stock, source, generated)


def _english(name: str, group: str, questions: int, stock: str, source: str, generated: int = 0) -> KnownTask:
    return KnownTask(name, group, "original", questions, stock, source, generated, unsafe=group == "code")


KNOWLEDGE, READING = "Chinese knowledge", "Chinese reading"
SUITE = (
    _chinese("ceval-valid", KNOWLEDGE, 1346, "ceval", "ceval/ceval-exam"),
    _chinese("cmmlu", KNOWLEDGE, 11582, "cmmlu", "haonan-li/cmmlu"),
    _chinese("agieval_cn", KNOWLEDGE, 4209, "agieval", "hails/agieval-*", 32),
    _chinese("drcd", READING, 3524, None, "DRCD_dev.json of github.com/DRCKnowledgeTeam/DRCD", 48),
    _chinese("cmrc2018", READING, 3219, None, "cmrc2018_dev.json of github.com/ymcui/cmrc2018", 48),
    _chinese("c3", READING, 3816, None, "c3-m-dev.json and c3-d-dev.json of github.com/nlpdata/c3"),
    _chinese("lcsts", "Chinese summarising", 725, None, "PART_III.txt of LCSTS, on request from its authors", 48),
    _english("mmlu", "English knowledge", 14042, "mmlu/default", "cais/mmlu"),
    _english("bbh", "English reasoning", 6511, "bbh/cot_fewshot", "SaylorTwift/bbh", 1024),
    _english("triviaqa", "English knowledge", 17944, "triviaqa", "mandarjoshi/trivia_qa", 32),
    _english("agieval_en", "English reasoning", 3856, "agieval", "hails/agieval-*", 32),
    _english("gsm8k", "math", 1319, "gsm8k", "openai/gsm8k", 256),
    _english("hendrycks_math", "math", 5000, "hendrycks_math", "EleutherAI/hendrycks_math", 256),
    _english("humaneval", "code", 164, "humaneval", "openai/openai_humaneval", 512),
    _english("mbpp", "code", 500, "mbpp", "google-research-datasets/mbpp", 256),
    _english("eq_bench", "emotional intelligence", 171, "eq_bench", "pbevan11/EQ-Bench", 80),
)
BY_NAME = {known.name: known for known in SUITE}


def known(task: str) -> KnownTask | None:
    """The suite's entry that a task is, or is a subject of (cmmlu_anatomy is one of cmmlu)."""
    prefixes = [name for name in BY_NAME if task == name or task.startswith(f"{name}_")]
    if not prefixes and task.startswith("agieval_"):
        return BY_NAME["agieval_cn" if "gaokao" in task or "jec" in task or task.endswith("zh") else "agieval_en"]
    return BY_NAME[max(prefixes, key=len)] if prefixes else None


def cloze(benchmarks: Benchmarks) -> list[str]:
    """The embedded suite's tasks, where the study asks for it."""
    return list(CLOZE.values()) if benchmarks.suite == "embedded" else []


def every(benchmarks: Benchmarks) -> list[str]:
    """All tasks that a study is scored on, in the order in which they run."""
    return [*cloze(benchmarks), *asked(benchmarks)]


def asked(benchmarks: Benchmarks) -> list[str]:
    """The tasks of lm-evaluation-harness that a study is scored on, in the order in which they run; none is twice."""
    suite = [task.name for task in SUITE] if benchmarks.suite == "almr" else []
    names = dict.fromkeys([*suite, *benchmarks.tasks])
    return [name for name in names if benchmarks.unsafe_code or not ((task := known(name)) and task.unsafe)]
