"""Bash of a stage after the launch: links the model that it continues from into its folder."""

from __future__ import annotations

from analysis.launch.plan.launch_plan import MODEL, StageOrigin


def linked(origin: StageOrigin | None) -> str:
    """Lines for the folder of a format, after `cd` and with `fail`: they link the model, or say in one line what is
    missing. Nothing without an origin.
    """
    if origin is None:
        return ""
    name = origin.variable
    unset = f"set {name} to the folder of the model that stage {origin.stage} continues from: {origin.words}"
    where = f"${{ALMR_CHECKPOINTS:-$PWD/../../..}}/{origin.left}" if origin.left else ""
    return f"""# {MODEL}: a link to the folder that {name} names, else to {origin.words}.
if [[ -n "${{{name}:-}}" || ! -f {MODEL}/config.json ]]; then
    left="${{{name}:-{where}}}"
    [[ -n "$left" ]] || fail "{unset}"
    [[ "$left" == /* ]] || left="$OLDPWD/$left"
    [[ -f "$left/config.json" ]] || fail "$left holds no model: {unset}"
    [[ {MODEL} -ef "$left" ]] || ln -sfT -- "$(cd -- "$left" && pwd -P)" {MODEL} || [[ {MODEL} -ef "$left" ]]
fi
"""
