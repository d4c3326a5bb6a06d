"""The command `almr`: its verbs, its help, its errors. Heavy libraries are imported inside the verb that needs them."""

from __future__ import annotations

from sweep.store import interruption

if __name__ == "__main__":  # what follows takes most of a second to import
    interruption.end_at_once()

import atexit
import contextlib
import importlib.metadata
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sweep.verbs.commands import comparison, figures, launches, results, scores, serving, studies, terminal, trainers
from sweep.verbs.commands.terminal import interruptible, tell

CACHES = ("ALMR_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE")
EXAMPLES: dict[Callable[..., None], tuple[str, str]] = {
    studies.plan: ("almr plan demo", "almr plan study.yaml --check --address auto"),
    studies.prepare: ("almr prepare demo", "almr prepare study.yaml --json"),
    studies.run: ("almr run demo", "almr run study.yaml --address auto --runs s3://bucket/runs"),
    studies.status: ("almr status demo --watch", "almr status s3://bucket/runs/demo --json"),
    studies.doctor: ("almr doctor demo", "almr doctor s3://bucket/runs/demo --json"),
    results.fit: ("almr fit demo", "almr fit trials.csv --columns almr=mix,lr=peak_lr,loss=total"),
    comparison.compare: ("almr compare demo larger", "almr compare runs/a runs/b fitted-table --out page.html"),
    results.simulate: ("almr simulate trials.csv", "almr simulate trials.csv --strategies surface,tpe --trials 8,12"),
    results.report: ("almr report s3://bucket/runs/demo", "almr report demo --serve --port 8040"),
    figures.figures: ("almr figures demo", "almr figures demo --width one --style paper.mplstyle --out paper"),
    results.export: ("almr export demo --verify", "almr export demo --format optuna"),
    studies.pack: (
        "almr pack study.yaml --format torchtitan --out data",
        "almr pack study.yaml --format torchtitan --out data --json",
    ),
    scores.scores: (
        "almr scores base=org/base cpt=/ckpt sft=/sft --suite almr",
        "almr scores cpt=runs/demo sft=runs/demo-chat-sft --run demo",
    ),
    launches.watch: ("almr watch runs/demo/launch --follow", "almr watch runs/demo/launch/native --log log --json"),
    launches.branch: (
        "almr branch runs/demo/launch step-40",
        "almr branch runs/demo/launch/native step-40 --lr-factor 0.3 --out slower",
    ),
    results.confirm: ("almr confirm demo", "almr confirm demo --results results.csv"),
    serving.serve: (
        "almr serve runs/demo-chat-sft --check",
        "almr serve ORG/MODEL --out serve --gpu H100-80GB --gpus 8",
    ),
}
OF_TRAINERS: dict[Callable[..., None], tuple[str, str]] = {
    trainers.check: (
        "almr trainer check python train.py",
        "almr trainer check --study study.yaml --json",
    ),
    trainers.compare: (
        "almr trainer compare study.yaml",
        "almr trainer compare demo --with theirs.yaml --address auto",
    ),
}
PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # plain help: it fits a screen, and no library draws it
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class ShortOptions(TyperGroup):
    """Its options take one line of a help text, which fits a screen with every verb."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        formatter.write("Options: --debug (show the traceback of an error), --version, -h, --help\n")
        self.format_commands(ctx, formatter)


app = typer.Typer(cls=ShortOptions, **PLAIN)
group = typer.Typer(help="Try a trainer that is not ours.", **PLAIN)
# The words after a program are its own, with their options.
settings = PLAIN["context_settings"] | {"allow_interspersed_args": False}
for place, verbs in ((app, EXAMPLES), (group, OF_TRAINERS)):
    for verb, examples in verbs.items():
        stoppable = interruptible("run the same command again")(verb)
        more = {"context_settings": settings} if verb is trainers.check else {}
        place.command(epilog="\b\nExamples:\n  {}\n  {}".format(*examples), **more)(stoppable)
app.add_typer(group, name="trainer")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"almr {importlib.metadata.version('almr-sweep')}")
        raise typer.Exit


@app.callback()
def almr(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (or ALMR_DEBUG=1).")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Choose ALMR and LR of a large run by small ones. First: almr run demo"""


def _write_any_character() -> None:
    """Replace what the terminal's encoding lacks, such as Chinese in Latin-1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave(ended: SystemExit) -> NoReturn:
    """End the process at once. To take all modules down does nothing, takes two seconds with Ray, and lets a signal
    kill; and Python takes an interrupt that we told for one that nobody handled.
    """
    if not isinstance(ended.code, int | None):
        raise ended
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError, ValueError):  # closed, or who reads it has gone
            stream.flush()
    os._exit(ended.code or 0)


def _end(status: int) -> NoReturn:
    """End, at once where the output cannot be written: Python would try again, with a status of its own."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os._exit(status)
    sys.exit(status)


def _same_caches_everywhere() -> None:
    """A relative $ALMR_CACHE or $HF_HOME is meant from here: workers and trainers start in folders of their own."""
    for name in CACHES:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))


def run_command() -> None:
    """Run the command: an error is one line on standard error, with its traceback before it under `--debug`."""
    _write_any_character()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or os.environ.get("ALMR_DEBUG", "0") not in ("", "0")
    command = typer.main.get_command(app)
    interruption.handle_signals()
    try:
        _same_caches_everywhere()
        status = command.main(arguments, prog_name="almr", standalone_mode=False) or 0
        if status == interruption.INTERRUPTED:  # typer returns it for an interrupt of which no verb has told
            interruption.end_now()
        sys.exit(status)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if terminal.is_help(error):
            error.show()  # type: ignore[attr-defined]  # of click or of its copy in typer
            _end(terminal.BAD_INPUT)
        lines, status = terminal.explain(error)
        tell(lines)
        _end(status)


def main() -> None:
    """Run the command as a process of its own."""
    interruption.end_at_once()
    try:
        run_command()
    except KeyboardInterrupt:  # while an error was told
        interruption.end_now()
    except SystemExit as ended:
        interruption.end_at_once(told=ended.code == interruption.INTERRUPTED)
        _leave(ended)


if __name__ == "__main__":
    main()
