"""Gives a trial in an Optuna storage other content, in one transaction.

Optuna changes no trial that has ended, and a running one by a transaction for each value. So it writes the wanted trial
into a database in memory, and the rows of that one take the place of the old ones.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection, Engine

ATTACHED = (
    *("trial_params", "trial_values", "trial_intermediate_values"),
    *("trial_user_attributes", "trial_system_attributes"),
)
OWN = ("state", "datetime_start", "datetime_complete")  # columns of `trials`


def replace(engine: Engine, number: int, wanted: FrozenTrial) -> None:
    """Give the trial of this number (its `trial_id` in the database) the content of another."""
    memory, study = _memory()
    made = memory.create_new_trial(study, template_trial=wanted)
    with memory.engine.begin() as source, engine.begin() as target:
        for table in ATTACHED:
            rows = _rows(source, table, made)
            _run(target, f"DELETE FROM {table} WHERE trial_id = :trial", trial=number)  # noqa: S608
            for row in rows:
                _insert(target, table, row | {"trial_id": number})
        [own] = _rows(source, "trials", made)
        changes = ", ".join(f"{name} = :{name}" for name in OWN)
        values = {name: own[name] for name in OWN}
        _run(target, f"UPDATE trials SET {changes} WHERE trial_id = :trial", trial=number, **values)  # noqa: S608


@cache
def _memory() -> tuple[RDBStorage, int]:
    """A storage in memory, and its study."""
    import optuna
    from sqlalchemy.pool import StaticPool

    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    storage = optuna.storages.RDBStorage("sqlite:///:memory:", engine_kwargs=options)
    return storage, storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])


def _rows(connection: Connection, table: str, trial: int) -> list[dict[str, Any]]:
    found = _run(connection, f"SELECT * FROM {table} WHERE trial_id = :trial", trial=trial)  # noqa: S608
    return [dict(row) for row in found.mappings()]


def _insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """With a primary key of its own."""
    import sqlalchemy

    keys = sqlalchemy.inspect(connection).get_pk_constraint(table)["constrained_columns"]
    values = {name: value for name, value in row.items() if name not in keys}
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    _run(connection, f"INSERT INTO {table} ({names}) VALUES ({marks})", **values)  # noqa: S608


def _run(connection: Connection, statement: str, **values: Any) -> Any:
    import sqlalchemy

    return connection.execute(sqlalchemy.text(statement), values)
