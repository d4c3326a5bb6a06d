"""Gives a trial in an Optuna storage other content, in one transaction.

Optuna changes no trial that has ended, and a running one by a transaction for each value. So it writes the wanted trial
into a database in memory, and the rows of that one take the place of the old ones.
"""

from __future__ import annotations

import copy
import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection, Engine

ATTACHED = ("trial_params", "trial_values", "trial_system_attributes")
OWN = ("state", "datetime_start", "datetime_complete")  # columns of `trials`
STEPS, ATTRIBUTES = "trial_intermediate_values", "trial_user_attributes"


def replace(engine: Engine, number: int, wanted: FrozenTrial) -> None:
    """Give the trial of this number (its `trial_id` in the database) the content of another."""
    memory, study = _memory()
    plain = copy.copy(wanted)
    plain.intermediate_values, plain.user_attrs = {}, {}  # Optuna looks each of them up before it adds it
    made = memory.create_new_trial(study, template_trial=plain)
    with memory.engine.begin() as source, engine.begin() as target:
        for table in ATTACHED:
            _put(target, table, number, _rows(source, table, made))
        _put(target, STEPS, number, _steps(wanted))
        attributes = wanted.user_attrs.items()
        _put(target, ATTRIBUTES, number, [{"key": name, "value_json": json.dumps(of)} for name, of in attributes])
        [own] = _rows(source, "trials", made)
        changes = ", ".join(f"{name} = :{name}" for name in OWN)
        values = {name: own[name] for name in OWN}
        _run(target, f"UPDATE trials SET {changes} WHERE trial_id = :trial", {"trial": number, **values})  # noqa: S608


def _steps(wanted: FrozenTrial) -> list[dict[str, Any]]:
    steps = wanted.intermediate_values.items()
    return [
        {"step": step, "intermediate_value": value, "intermediate_value_type": "FINITE"}
        for step, value in steps
        if math.isfinite(value)
    ]


@cache
def _memory() -> tuple[RDBStorage, int]:
    """A storage in memory, and its study."""
    import optuna
    from sqlalchemy.pool import StaticPool

    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    storage = optuna.storages.RDBStorage("sqlite:///:memory:", engine_kwargs=options)
    return storage, storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])


def _rows(connection: Connection, table: str, trial: int) -> list[dict[str, Any]]:
    """Without their primary keys, of which those of another database have their own."""
    found = _run(connection, f"SELECT * FROM {table} WHERE trial_id = :trial", {"trial": trial})  # noqa: S608
    return [{name: value for name, value in row.items() if name != _key(table)} for row in found.mappings()]


def _put(connection: Connection, table: str, trial: int, rows: list[dict[str, Any]]) -> None:
    """Have these rows of a trial, and no others."""
    _run(connection, f"DELETE FROM {table} WHERE trial_id = :trial", {"trial": trial})  # noqa: S608
    if rows:
        names = [*(rows[0] | {"trial_id": trial})]
        marks = ", ".join(f":{name}" for name in names)
        columns = ", ".join(f'"{name}"' for name in names)  # one is named key
        given = [row | {"trial_id": trial} for row in rows]
        _run(connection, f"INSERT INTO {table} ({columns}) VALUES ({marks})", given)  # noqa: S608


@cache
def _key(table: str) -> str:
    import sqlalchemy

    [name] = sqlalchemy.inspect(_memory()[0].engine).get_pk_constraint(table)["constrained_columns"]
    return str(name)


def _run(connection: Connection, statement: str, values: Any) -> Any:
    import sqlalchemy

    return connection.execute(sqlalchemy.text(statement), values)
