"""The verbs on a launch that runs: `watch` and `branch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.study import InputError
from sweep.verbs.commands.terminal import REFUSED, interruptible, out, say, show
from sweep.verbs.options import AsJson

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A launch bundle, the folder of its format, or a confirmation run.")
]


def watch(
    bundle: Bundle,
    logs: Annotated[
        list[Path] | None,
        typer.Option("--log", metavar="PATH", help="Its log, or their folder. Repeatable.  [default: where it runs]"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Look again until the launch ends.")] = False,
    page: Annotated[Path | None, typer.Option("--out", metavar="HTML", help="Write a page: watch.html.")] = None,
    stalled: Annotated[float, typer.Option("--stalled", metavar="MINUTES", help="So long without a line.")] = 15,
    webhook: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Holds a webhook's URL: told when the verdict changes.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--run", metavar="PROGRAM", help="Started then, with the facts as JSON on its input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a running launch with its prediction. Exit status 3: outside its band, diverging or stalled."""
    if follow and as_json:
        raise InputError("--follow goes on until the launch ends, and --json prints one object: leave one out")
    if not stalled > 0:
        raise InputError(f"--stalled {stalled:g}: give minutes above 0")
    from analysis.launch.watching import bundles, text
    from sweep.verbs.watching import watch as watching
    from sweep.verbs.watching.page.page import refuse_foreign
    from sweep.verbs.watching.tell import VerdictTeller

    if page:
        refuse_foreign(page)
    teller, named = VerdictTeller(webhook, command, say), tuple(logs or ())
    watched = watching.LaunchWatch(bundles.find(bundle, named), named, stalled, page, teller)
    with interruptible("the launch goes on; look again: the same command"):
        found = watching.follow(watched, out, say) if follow else watched.look()
    if as_json:
        show(found.as_json())
    elif not follow:
        show("\n".join(text.lines(found)))
    raise typer.Exit(REFUSED if found.verdict.alarms and not follow else 0)


def branch(
    bundle: Bundle,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The folder of a checkpoint of its run.")],
    factor: Annotated[float, typer.Option("--lr-factor", metavar="X", help="The new LR over the old one.")] = 0.5,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="A new folder.  [default: launch-branch-1]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a bundle that goes on from a checkpoint with another LR. Rows and schedule stay."""
    from analysis.launch.watching import branching, bundles

    made = branching.write(bundles.find(bundle, [checkpoint]), checkpoint, factor, folder)
    show(made.as_json() if as_json else "\n".join(made.lines))
