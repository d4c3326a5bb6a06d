"""Questions in English about Shakespeare's plays, whose answers are true by how they are made."""

from __future__ import annotations

from collections.abc import Iterable

from trainers.data.origins.questions import plays
from trainers.data.origins.questions.chosen import number, one, shuffled
from trainers.data.origins.questions.plays import Line, Plays
from trainers.data.origins.questions.question import Question, Topic, Wording, ask

WORDINGS = {
    "speaker": Wording(
        (
            'Who says "{text}"?',
            'In {play}, who speaks the line "{text}"?',
            'Whose words are these: "{text}"?',
            'Name the speaker of "{text}".',
        ),
        "{speaker} says it.",
        ("And who says it?", "Who speaks this line?", "Whose words are these?"),
    ),
    "play": Wording(
        (
            'Which play has the line "{text}"?',
            'Where does {speaker} say "{text}"?',
            'In which play of Shakespeare do we hear "{text}"?',
        ),
        "It is from {play}.",
        ("Which play is it from?", "And in which play is that?", "Name the play, please."),
    ),
    "act": Wording(
        (
            'In which act of {play} does {speaker} say "{text}"?',
            'Which act of {play} has the line "{text}"?',
        ),
        "It is in Act {act}.",
    ),
    "next": Wording(
        (
            'What comes after "{text}"?',
            'Which line follows "{text}"?',
            '{speaker} says: "{text}" How does it go on?',
        ),
        '"{after}"',
    ),
    "complete": Wording(
        (
            'Complete the line: "{begin} ..."',
            'How does the line "{begin} ..." end?',
            'Give me the whole line that begins "{begin} ..."',
        ),
        '"{text}"',
    ),
    "either": Wording(
        (
            'Who says "{text}": {one} or {other}?',
            'Is it {one} or {other} who says "{text}"?',
        ),
        "{speaker} says it.",
    ),
    "cast": Wording(
        (
            "Who is in {play}: {one} or {other}?",
            "Which of the two speaks in {play}, {one} or {other}?",
        ),
        "{speaker} is in {play}.",
    ),
}
OF_A_LINE = ("speaker", "play", "act", "next", "complete", "either")


def topics(documents: Iterable[str]) -> list[Topic]:
    """What can be asked about the plays."""
    of = plays.read(documents)
    lines = {line.text: line for line in of.lines}
    cast = {f"{play}: {name}": (play, name) for play, names in of.cast.items() for name in names}
    begun = tuple(text for text, line in lines.items() if line.begin)

    def of_line(kind: str) -> Topic:
        texts = begun if kind == "complete" else tuple(lines)
        return Topic(kind, "lines", texts, lambda text: [_of_line(kind, lines[text], of)])

    return [
        *map(of_line, OF_A_LINE),
        Topic("cast", "cast", tuple(cast), lambda text: [_cast(*cast[text], of)]),
        Topic("dialogue", "lines", begun, lambda text: _dialogue(lines[text], of)),
    ]


def _of_line(kind: str, line: Line, of: Plays, follow_up: bool = False) -> Question:
    others = [name for name in of.cast[line.play] if name != line.speaker] or ["nobody"]
    both = shuffled([line.speaker, one(others, line.text)], line.text)
    facts = {
        "text": line.text,
        "play": line.play,
        "act": line.act,
        "speaker": line.speaker,
        "after": line.after,
        "begin": line.begin,
        "one": both[0],
        "other": both[-1],
    }
    return ask(kind, WORDINGS[kind], facts, follow_up)


def _cast(play: str, name: str, of: Plays) -> Question:
    strangers = sorted({stranger for names in of.cast.values() for stranger in names} - {*of.cast[play]})
    both = shuffled([name, one(strangers, play, name)], play)
    return ask("cast", WORDINGS["cast"], {"play": play, "speaker": name, "one": both[0], "other": both[1]})


def _dialogue(line: Line, of: Plays) -> list[Question]:
    """Two or three questions about the same line, of which the later ones do not repeat it."""
    first = one(("next", "complete"), line.text, "first")
    later = shuffled(["speaker", "play"], line.text)[: 1 + number(line.text, "later") % 2]
    return [_of_line(first, line, of), *(_of_line(kind, line, of, follow_up=True) for kind in later)]
