"""The files of a base model of the Hugging Face hub, downloaded into huggingface_hub's cache at one commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.hf_api import RepoSibling

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.files import disk
from sweep.study.numbers import size
from sweep.study.sections.text.corpora import BaseModelSource
from trainers.data.origins.hub import Repository

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
DESCRIPTIONS = (".json", ".txt", ".model", ".jinja", ".tiktoken")  # configuration and tokenizer
Progress = Callable[[str, float | None], None]


def repository(base: BaseModelSource) -> Repository:
    assert base.pretrained
    instead = "give a directory that save_pretrained wrote"
    return Repository("model", base.pretrained, base.revision, "base_model.pretrained", instead)


def tokenizer_repository(base: BaseModelSource) -> Repository:
    assert base.tokenizer
    return Repository("model", base.tokenizer, None, "base_model.tokenizer", "give a directory with its files")


def find(base: BaseModelSource, commit: str) -> Path | None:
    """The folder of the model at a commit; None where some of its weights are not on this machine."""
    config = try_to_load_from_cache(base.pretrained or "", "config.json", revision=commit)
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    first = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if first is None or first.suffix != ".json":
        return first is not None
    parts = set(json.loads(first.read_text(encoding="utf-8"))["weight_map"].values())
    return all((folder / part).is_file() for part in parts)


def download(base: BaseModelSource, commit: str, progress: Progress) -> Path:
    """Download what is not in the cache yet: configuration and tokenizer first, then the weights; returns the folder.

    Raises InputError where the hub does not serve them, and OSError where they cannot be written.
    """
    name = base.pretrained or ""
    try:
        listed = HfApi().model_info(name, revision=commit, files_metadata=True).siblings or []
        files = wanted(listed, base.trust_remote_code)
        done, total = 0, sum(file.size or 0 for file in files)
        for file in files:
            progress(f"downloading {name} ({size(total)})", done / total if total else None)
            hf_hub_download(name, file.rfilename, revision=commit)
            done += file.size or 0
    except Exception as error:  # the errors of several network libraries come through
        if fault := disk.fault(error, constants.HF_HUB_CACHE):
            raise fault from None
        raise InputError(
            f"base_model.pretrained: {name} could not be downloaded ({one_line(error)}); check the network and "
            f"HF_TOKEN, then run the same command again: the files that are complete stay"
        ) from None
    if folder := find(base, commit):
        return folder
    raise InputError(
        f"base_model.pretrained: {name} has no weights at commit {commit} ({', '.join(WEIGHTS[::2])}); name another "
        f"model, or {repository(base).instead}"
    )


def wanted(files: list[RepoSibling], code: bool) -> list[RepoSibling]:
    """The files of a repository that `from_pretrained` reads: of several copies of the weights, the first of WEIGHTS.
    `code`: its Python files too. The weights come last.
    """
    top = [file for file in files if "/" not in file.rfilename]
    names = {file.rfilename for file in top}
    first = next((name for name in WEIGHTS if name in names), "")
    stem, ending = first.split(".")[0], first.removesuffix(".index.json").rpartition(".")[2]
    weights = [f for f in top if first and f.rfilename.startswith(stem) and f.rfilename.endswith(f".{ending}")]
    if not first.endswith(".json"):
        weights = [file for file in weights if file.rfilename == first]
    others = [f for f in top if f.rfilename.endswith(DESCRIPTIONS) or (code and f.rfilename.endswith(".py"))]
    return [*others, *weights]
