"""The verb `serve`: a model behind OpenAI's interface, on GPUs by vLLM, else on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.launch.serving import plan
from analysis.launch.serving.plan import ServingGpus
from sweep.store.remote import refuse_remote
from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.sizes.known import GPUS
from sweep.verbs.commands.terminal import REFUSED, err, say, show, tell
from sweep.verbs.options import RUNS, AsJson, Runs
from sweep.verbs.serving import here, named
from sweep.verbs.serving.named import ModelToServe

PORT = 8000


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's folder, a trial, a run, or a hub id.")],
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write scripts for vLLM; with --check, the transcript."),
    ] = None,
    gpu: Annotated[str | None, typer.Option(metavar="NAME", help="Kind of GPU, such as H100-80GB.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, metavar="N", help="GPUs of a node.")] = None,
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="Nodes of one copy of the model.")] = 1,
    max_model_len: Annotated[int | None, typer.Option(min=2, metavar="N", help="Tokens, prompt and answer.")] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sequences at once.", hidden=True),  # a help text fits a screen
    ] = None,
    name: Annotated[
        str | None, typer.Option("--served-model-name", metavar="NAME", help="That clients give.", hidden=True)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask the served model, and measure.")] = False,
    url: Annotated[str | None, typer.Option(metavar="URL", help="With --check: a server that runs.")] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Others need ALMR_API_KEY set.")] = here.LOOPBACK[0],
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0: a free one.")] = PORT,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Serve a model, write what serves it on GPUs, or check it."""
    found = named.find(model, runs, name)
    if url and not check:
        raise InputError("--url: only a check asks a server that runs: add --check")
    if check:
        return _check(found, url, max_model_len, folder, as_json)
    if folder:
        return _write(found, folder, _hardware(gpu, gpus, nodes), max_model_len, max_num_seqs, as_json)
    if gpu or nodes > 1:
        raise InputError("--gpu and --nodes: they are for scripts: add --out FOLDER")
    _start(found, host, port, gpus, max_model_len, max_num_seqs)


def _check(model: ModelToServe, url: str | None, length: int | None, out: Path | None, as_json: bool) -> None:
    here.refuse_missing()
    from sweep.verbs.serving import checked

    path = out or checked.TRANSCRIPT
    if path.is_dir():
        raise InputError(f"--out {path}: it is a folder: name a file for the transcript")
    with err.status("loading") as status:
        done = checked.checked(model, url, length, status.update)
    checked.write(done, path)
    show(done.as_json() | {"transcript": str(path)} if as_json else "\n".join(done.lines()))
    if not as_json:
        say(f"transcript: {path}")
    raise typer.Exit(0 if done.passed else REFUSED)


def _hardware(gpu: str | None, gpus: int | None, nodes: int) -> ServingGpus:
    if gpu is None or gpu not in GPUS:
        unknown = "required with --out" if gpu is None else f"{shown(gpu)} is not a known GPU"
        raise InputError(f"--gpu: {unknown}: write one of {', '.join(GPUS)}")
    return ServingGpus(gpu, GPUS[gpu].bytes, gpus or 1, nodes)


def _write(
    model: ModelToServe, out: Path, hardware: ServingGpus, length: int | None, sequences: int | None, as_json: bool
) -> None:
    from analysis.launch.serving import folder
    from sweep.verbs.serving import described

    refuse_remote(out)
    planned = plan.make(described.describe(model), hardware, length, sequences)
    remarks = described.remarks(model)
    files = folder.write(planned, out, remarks)
    tell(remarks)
    if as_json:
        return show(planned.as_json() | {"files": [str(path) for path in files]})
    show("\n".join(planned.lines()))
    say(f"{out}: {', '.join(path.name for path in files)}; README.md says how to start it")


def _start(
    model: ModelToServe, host: str, port: int, gpus: int | None, length: int | None, sequences: int | None
) -> None:
    here.refuse_open(host)
    from sweep.verbs.serving import described, vllm

    tell(described.remarks(model))
    program = vllm.program()
    found = vllm.gpus_here(gpus) if program else None
    if program and found:
        planned = plan.make(described.describe(model), found, length, sequences)
        tell(planned.lines())
        with err.status("starting vLLM") as status:
            vllm.serve(planned, program, host, port, not described.remarks(model), say, status.update)
        return
    here.refuse_missing()
    place = here.listen(host, port)
    with err.status("loading") as status:
        loaded = here.load(model, length, lambda phase, share: status.update(phase))
    here.serve(loaded, place, host, say)
