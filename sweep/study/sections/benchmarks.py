"""What a study's trials are scored on beside their losses. A leaf: standard library and pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sweep.study.fields import Count, Natural, Schema, listed

Task = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Tasks = Annotated[tuple[Task, ...], BeforeValidator(listed)]


class Benchmarks(Schema):
    """A suite by name, single tasks of lm-evaluation-harness or of the user's `include` folder, or both.

    `when: finalists` scores only the best `finalists` trials, once all have run. `limit` questions at most of a task
    (of each subject, where it has several); `shots` examples before a question, None for as many as the task says;
    `batch` requests at once. `data` is a folder with a folder per task of local copies. Tasks that run the code that a
    model wrote are left out unless `unsafe_code`.
    """

    suite: Literal["embedded", "almr"] | None = None
    tasks: Tasks = ()
    when: Literal["all", "finalists"] = "all"
    finalists: Count = 5
    limit: Count | None = None
    shots: Natural | None = None
    batch: Count = 16
    data: str | None = None
    include: str | None = None
    unsafe_code: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.suite is None and not self.tasks:
            raise ValueError("give a suite (embedded, almr), tasks, or both")
        return self

    @property
    def questions(self) -> dict[str, int | None]:
        """What decides which questions a task asks, beside its own file."""
        return {"limit": self.limit, "shots": self.shots}
