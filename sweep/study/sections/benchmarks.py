"""`benchmarks`: what trials are scored on, besides their losses."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sweep.study.fields import Count, Natural, Section, Several

Task = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class Benchmarks(Section):
    """Benchmarks that trials are scored on: a `suite`, single `tasks`, or both."""

    suite: Literal["embedded", "almr"] | None = None
    """A suite by name. `embedded`: 400 questions per language from the held-out text; `almr`: the method's suite."""
    tasks: Several[Task] = ()
    """Tasks of lm-evaluation-harness, or of the `include` folder, by name. Default: none besides the suite's."""
    when: Literal["all", "finalists"] = "all"
    """Score every trial, or only the best `finalists`, once all trials have run."""
    finalists: Count = 5
    """Number of trials that `when: finalists` scores."""
    limit: Count | None = None
    """Most questions per task, or per subject of a task that has subjects. Default: all questions."""
    shots: Natural | None = None
    """Number of solved examples before each question. Default: as the task defines it."""
    batch: Count = 16
    """Requests that a worker evaluates together; lower it if scoring runs out of memory."""
    data: str | None = None
    """Folder of local copies of the tasks' data, with one folder per task. Default: download from Hugging Face."""
    include: str | None = None
    """Folder of your own task files for lm-evaluation-harness. Default: none."""
    task_code: bool = False
    """Run the Python that files of `include` name with `!function`. Default: such a task is refused."""
    unsafe_code: bool = False
    """Also run the tasks that execute code written by the model, such as humaneval. Default: leave them out."""
    sandbox: Literal["auto", "bubblewrap", "none"] = "auto"
    """What holds that code. `auto`: what is found; refused without. `none`: only limits; it can read your files."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.suite is None and not self.tasks:
            raise ValueError("give a suite (embedded, almr), tasks, or both")
        return self

    @property
    def questions(self) -> dict[str, int | None]:
        """The settings that decide which questions a task asks, besides the task's own file."""
        return {"limit": self.limit, "shots": self.shots}
