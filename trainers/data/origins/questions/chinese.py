"""Questions in Chinese about the Romance of the Three Kingdoms, whose answers are true by how they are made."""

from __future__ import annotations

from collections.abc import Iterable

from trainers.data.origins.questions import chapters
from trainers.data.origins.questions.chapters import SPEAKERS, Chapter, Saying
from trainers.data.origins.questions.chosen import number, one, shuffled
from trainers.data.origins.questions.question import Question, Topic, Wording, ask

WORDINGS = {
    "speaker": Wording(
        ("“{text}”是谁说的？", "谁说了“{text}”？", "书中“{text}”这句话出自谁之口？", "“{text}”，这是谁的话？"),
        "是{speaker}说的。",
        ("这话是谁说的？", "说话的人是谁？", "那么，是谁说的？"),
    ),
    "chapter": Wording(
        ("“{text}”出自第几回？", "哪一回里有“{text}”？", "{speaker}在第几回说“{text}”？"),
        "出自{chapter}。",
        ("这句话出自第几回？", "是在哪一回？", "请问是第几回？"),
    ),
    "next": Wording(
        ("“{text}”的下一句是什么？", "“{text}”之后，接着说什么？", "{speaker}说“{text}”，下面怎么说？"),
        "“{after}”",
    ),
    "complete": Wording(
        ("请补全这句话：“{begin}……”", "“{begin}……”这句话怎么说完？", "以“{begin}”开头的整句话是什么？"),
        "“{text}”",
    ),
    "either": Wording(
        ("“{text}”是{one}说的，还是{other}说的？", "说“{text}”的是{one}还是{other}？"),
        "是{speaker}说的。",
    ),
    "title": Wording(
        ("{number}的回目，上句是“{first}”，下句是什么？", "“{first}”是{number}回目的上句，请说下句。"),
        "下句是“{second}”。",
    ),
    "present": Wording(
        ("{number}里写到的名字是{one}还是{other}？", "{one}和{other}，哪个名字在{number}里出现？"),
        "{number}里有{present}。",
    ),
}
OF_A_SAYING = ("speaker", "chapter", "next", "complete", "either")


def topics(documents: Iterable[str]) -> list[Topic]:
    """What can be asked about the chapters."""
    of = chapters.read(documents)
    sayings = {saying.text: saying for saying in of.sayings}
    by_number = {chapter.number: chapter for chapter in of.chapters}
    present = {f"{chapter.number} {name}": (chapter, name) for chapter in of.chapters for name in chapter.present}
    lacking = {"next": {text for text, saying in sayings.items() if not saying.after}}
    lacking["complete"] = lacking["dialogue"] = {text for text, saying in sayings.items() if not saying.begin}

    def of_saying(kind: str) -> Topic:
        texts = tuple(sayings.keys() - lacking.get(kind, set()))
        return Topic(kind, "sayings", texts, lambda text: [_of_saying(kind, sayings[text])])

    return [
        *map(of_saying, OF_A_SAYING),
        Topic("title", "titles", tuple(by_number), lambda text: [_title(by_number[text])]),
        Topic("present", "present", tuple(sorted(present)), lambda text: [_present(*present[text])]),
        Topic(
            "dialogue", "sayings", tuple(sayings.keys() - lacking["dialogue"]), lambda text: _dialogue(sayings[text])
        ),
    ]


def _of_saying(kind: str, saying: Saying, follow_up: bool = False) -> Question:
    both = shuffled([saying.speaker, one([n for n in SPEAKERS if n != saying.speaker], saying.text)], saying.text)
    facts = {
        "text": saying.text,
        "chapter": saying.chapter,
        "speaker": saying.speaker,
        "after": saying.after,
        "begin": saying.begin,
        "one": both[0],
        "other": both[1],
    }
    return ask(kind, WORDINGS[kind], facts, follow_up)


def _title(chapter: Chapter) -> Question:
    first, second = chapter.title
    return ask("title", WORDINGS["title"], {"number": chapter.number, "first": first, "second": second})


def _present(chapter: Chapter, name: str) -> Question:
    absent = [other for other in SPEAKERS if other not in chapter.present]
    both = shuffled([name, one(absent, chapter.number, name)], chapter.number)
    facts = {"number": chapter.number, "present": name, "one": both[0], "other": both[1]}
    return ask("present", WORDINGS["present"], facts)


def _dialogue(saying: Saying) -> list[Question]:
    """Two or three questions about the same sentence, of which the later ones do not repeat it."""
    first = one(("next", "complete") if saying.after else ("complete",), saying.text, "first")
    later = shuffled(["speaker", "chapter"], saying.text)[: 1 + number(saying.text, "later") % 2]
    return [_of_saying(first, saying), *(_of_saying(kind, saying, follow_up=True) for kind in later)]
