"""The transcript of a check, as Markdown: what was asked and answered, what was found, and the figures."""

from __future__ import annotations

from analysis.launch.formats.format import inert, visible
from sweep.verbs.serving.check.check import ServingCheck


def text(done: ServingCheck, when: str) -> str:
    parts = [f"# Check of {visible(done.model)}, {when}", f"By the openai client, greedily, at {visible(done.url)}."]
    for question, answer in done.talk:
        ended = "it ended by itself" if answer.finish == "stop" else "it was cut off"
        count = f"{answer.prompt_tokens} tokens asked, {answer.tokens} answered; {ended}."
        parts.append(
            f"## {question.language}\n{_quoted('user', question.text)}\n>\n{_quoted('model', answer.text)}\n\n{count}"
        )
    parts.append("## Findings\n" + "\n".join(f"- {visible(finding.line)}" for finding in done.findings))
    parts.append("## Figures\n" + "\n".join(f"- {figures.line}" for figures in done.figures))
    return inert("\n\n".join(parts)) + "\n"


def _quoted(who: str, said: str) -> str:
    lines = [visible(line) for line in said.splitlines()] or ["(nothing)"]
    return f"> **{who}**: " + "\n> ".join(lines)
