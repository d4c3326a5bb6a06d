"""Whether text was decoded in its own encoding: many encodings decode the bytes of another as wrong letters."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any

from sweep.study.files.marks import encoding_of
from trainers.data.readers.place import Place

UTF8 = ("utf-8", "utf-8-sig")
CHANCE_ONE_BYTE = 3  # characters beyond ASCII that are UTF-8 in a whole file; fewer may be valid by chance
CHANCE = 10  # of the others: of ten Chinese characters in GB18030, 1 in 10 million; of five, 1 in 5,000
CHANCE_WIDE = 64  # of UTF-16 and UTF-32 any characters count: there no text consists of bytes of ASCII
PRIVATE = re.compile("[\ue000-\uf8ff]")  # no character: a font may show anything there
LATIN = ("iso8859-1", "iso8859-15", "cp1252")  # of languages whose letters are mostly ASCII; they decode any bytes
MOST_LATIN = 0.5  # of the characters without white space may be beyond ASCII; in Vietnamese a quarter is
FEWEST_LATIN = 100  # of such characters say something
LINE_ONE_BYTE, LINE = 8, 20  # the same as CHANCE of a single line, of which a corpus has millions
MOST_PRIVATE = 0.02  # of the characters beyond ASCII; Big5, EUC-JP and EUC-KR read as GB18030 give 6 % to 50 %


def marked(piece: bytes, encoding: str) -> str | None:
    """What is wrong with text that begins with the mark of another encoding than the stated one."""
    name = encoding_of(piece)
    if name is None or codecs.lookup(encoding).name.startswith(name):
        return None
    fix = "remove `encoding:`" if name == "utf-8" else f"state `encoding: {name}`"
    return f"begins with the mark of {name.upper()}, not {encoding}: {fix}"


class Watched(io.RawIOBase):
    """The bytes of a stream. They are decoded as UTF-8 too, as long as they are that, if another encoding is stated."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        stated = codecs.lookup(encoding).name
        self._decoder: Any = None if stated in UTF8 else codecs.getincrementaldecoder("utf-8")()
        self._wide = stated.startswith(("utf-16", "utf-32"))
        one_byte = len(bytes(range(256)).decode(encoding, "replace")) == 256  # the others decode pairs
        self._enough = CHANCE_WIDE if self._wide else CHANCE_ONE_BYTE if one_byte else CHANCE
        self._line, self._first, self._found = 1, 0, 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read1(len(buffer))  # no more than one piece: what follows may be damaged
        buffer[: len(data)] = data
        if self._decoder:
            self._look(data)
        return len(data)

    def _look(self, data: bytes) -> None:
        """At the next bytes. The first line that counts is where the first character beyond ASCII is."""
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError:
            self._decoder = None
            return
        if "\0" in text:
            self._decoder = None
            return
        foreign = text if self._wide else re.sub(r"[\0-\x7f]+", "", text)
        if foreign and not self._first:
            self._first = self._line + text[: text.index(foreign[0])].count("\n")
        self._found += len(foreign)
        self._line += data.count(b"\n")

    def refuse(self, place: Place) -> None:
        """Raises InputError where all bytes so far were UTF-8, by more than chance."""
        if self._decoder and self._found >= self._enough:
            fix = f"remove `encoding:`, or give the files that are {self._encoding}"
            raise place.fault(f"is UTF-8, not {self._encoding}: {fix}", self._first)


class Decoded:
    """Looks at decoded lines: for those that were UTF-8, and counts characters for private use and beyond ASCII."""

    def __init__(self, encoding: str) -> None:
        name = codecs.lookup(encoding).name
        self._encoding, self._first, self._foreign, self._private, self._size = encoding, 0, 0, 0, 0
        self._utf8 = name in UTF8
        self._latin, self._counts = name in LATIN, name in ("gb18030", "cp932")  # the others decode none of the kind
        one_byte = len(bytes(range(256)).decode(encoding, "replace")) == 256
        self._enough, self._first_utf8 = LINE_ONE_BYTE if one_byte else LINE, 0

    def line(self, text: str, number: int) -> None:
        if self._utf8:
            return
        foreign = 0 if text.isascii() else len(re.sub(r"[\0-\x7f]+", "", text))
        if self._latin:
            self._size += len("".join(text.split()))
        if not foreign:
            return
        if not self._first_utf8 and foreign > self._enough and self._is_utf8(text):
            self._first_utf8 = number
        private = len(PRIVATE.findall(text)) if self._counts else 0
        self._first = self._first or (number if private or self._latin else 0)
        self._private += private
        self._foreign += foreign

    def _is_utf8(self, text: str) -> bool:
        try:
            decoded = text.encode(self._encoding).decode()
        except UnicodeError:
            return False
        return len(re.sub(r"[\0-\x7f]+", "", decoded)) >= self._enough

    def refuse(self, place: Place) -> None:
        """Raises InputError where a line was UTF-8, and where too many are for private use or beyond ASCII."""
        if self._first_utf8:
            problem = f"is UTF-8, in a file that is else {self._encoding}"
            raise place.fault(f"{problem}: convert the file to one of the two, or remove the line", self._first_utf8)
        if self._private >= max(CHANCE, MOST_PRIVATE * self._foreign):
            problem = f"{self._private:,} of {self._foreign:,} letters are for private use, so the file is not"
            raise place.fault(f"{problem} {self._encoding}: state the right `encoding:` (big5, ...)", self._first)
        if self._latin and self._foreign >= max(FEWEST_LATIN, MOST_LATIN * self._size):
            problem = f"{self._foreign:,} of {self._size:,} letters are accented or symbols, so the file is not"
            raise place.fault(f"{problem} {self._encoding}: state the right `encoding:` (gb18030, ...)", self._first)
