"""The Romance of the Three Kingdoms as it lies in the embedded text -> what is said in it, by whom and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# As the book names them. No two are the same person.
NAMES = (
    "玄德 孔明 曹操 孙权 张飞 关公 赵云 周瑜 鲁肃 吕布 董卓 王允 袁绍 袁术 荀彧 郭嘉 程昱 许褚 张辽 徐晃 夏侯惇 曹仁 "
    "曹丕 司马懿 司马昭 司马师 姜维 魏延 黄忠 马超 马谡 庞统 徐庶 陆逊 吕蒙 甘宁 黄盖 阚泽 张昭 诸葛瑾 陈宫 刘表 刘璋 "
    "蔡瑁 孙策 孙坚 邓艾 钟会 廖化 蒋琬 费祎 杨仪 法正 许攸 沮授 田丰 公孙瓒 陶谦 李儒 貂蝉 孟获 关兴 张苞 后主 献帝"
)
SPEAKERS = tuple(NAMES.split())
# What the book calls them where they speak again. Of these words each means one person only.
SHORT = {
    "操": "曹操",
    "瑜": "周瑜",
    "懿": "司马懿",
    "维": "姜维",
    "布": "吕布",
    "飞": "张飞",
    "卓": "董卓",
    "云长": "关公",
}
NAMED = "|".join([*SPEAKERS, *SHORT])
SAID = re.compile(rf"(?<=[。！？；”\s])({NAMED})(?:笑|大笑|怒|大怒|叱|答|问|叹|泣)?曰：“([^“”]+)”")
TITLE = re.compile(r"(第\S+回) (\S+?)\u3000(\S+)")
SENTENCE = re.compile(r"[^。！？；]+[。！？；]")
SHORTEST, LONGEST = 7, 22  # characters of a sentence that is asked about


@dataclass(frozen=True)
class Saying:
    """A sentence that a person says, and that is nowhere else in the book. `after`: the next one of the same words,
    where a question can be asked about it; else empty. `begin`: its first half, where nothing else in the book is
    so; else empty.
    """

    chapter: str
    speaker: str
    text: str
    after: str
    begin: str = ""


@dataclass(frozen=True)
class Chapter:
    """`present`: those of SPEAKERS whose name is written in it. The title has two halves, as a couplet."""

    number: str
    title: tuple[str, str]
    present: frozenset[str]


@dataclass(frozen=True)
class Romance:
    chapters: list[Chapter]
    sayings: list[Saying]


def read(documents: Iterable[str]) -> Romance:
    """The chapters, and the sentences in them that questions can be asked about."""
    found = [(title, document) for document in documents if (title := TITLE.match(document))]
    chapters = [Chapter(t[1], (t[2], t[3]), frozenset(n for n in SPEAKERS if n in d)) for t, d in found]
    said = [saying for title, document in found for saying in _sayings(title[1], document)]
    whole = "".join(document for _, document in found)
    usable = [saying for saying in said if _fits(saying.text) and whole.count(saying.text) == 1]
    return Romance(chapters, [_with_begin(saying, whole) for saying in usable])


def _with_begin(saying: Saying, whole: str) -> Saying:
    begin = saying.text[: len(saying.text) // 2]
    return replace(saying, begin=begin) if whole.count(begin) == 1 else saying


def _fits(sentence: str) -> bool:
    return SHORTEST <= len(sentence) <= LONGEST and not {*"‘’"} & {*sentence}


def _sayings(chapter: str, document: str) -> Iterator[Saying]:
    for speaker, words in SAID.findall(document):
        sentences = SENTENCE.findall(words)
        for text, after in zip(sentences, [*sentences[1:], ""], strict=False):
            yield Saying(chapter, SHORT.get(speaker, speaker), text, after if _fits(after) else "")
