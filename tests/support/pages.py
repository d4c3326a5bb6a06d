"""A page that we wrote, as a browser takes it apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags, the text and the rows of all tables of a page. `links` lead out of the page; `data` is what its script
    draws, `scripts` the text of script elements, which are no text of the page.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.rows, self.cell = [], [], "", [], False
        self.ids, self.scripts, self.policy, self.hidden = [], {}, "", ""
        self.feed(html)
        self.rows = [row for row in self.rows if row]

    @property
    def data(self):
        return json.loads(self.scripts["data"])

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.links += [v for name, v in attributes if name in ("src", "href", "srcset", "data") and v[:1] != "#"]
        self.ids += [named["id"]] if "id" in named else []
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]
        if tag in ("script", "style"):
            self.hidden = named.get("id", tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")
        self.hidden = "" if tag in ("script", "style") else self.hidden

    def handle_data(self, data):
        if self.hidden:
            self.scripts[self.hidden] = self.scripts.get(self.hidden, "") + data
            return
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data
