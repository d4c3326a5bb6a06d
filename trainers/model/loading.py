"""Loading the base model and its tokenizer: an embedded one, or any causal language model of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.utils import logging
from transformers.utils.import_utils import is_flash_attn_2_available

from sweep.study import InputError, Study
from sweep.study.errors import network_fault, one_line
from sweep.study.files import disk
from sweep.study.files.atomic import sha256
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.study import fingerprint_of
from trainers.data.origins.hub import SAVES_THE_WAIT
from trainers.model import fitting, output_layer
from trainers.workers.group import WorkerGroup

log = getLogger(__name__)
# transformers replaces methods of its classes while it loads: of two threads at once, one would restore the other's.
LOADING = Lock()
AGAIN = "download or save the model again"
LOADS_SHARDED = [int(part) for part in transformers.__version__.split(".")[:2]] >= [5, 17]  # the first that was tried
logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the display shows one progress of its own


def load_tokenizer(base: BaseModelSource, path: str) -> Any:
    with quiet():  # it warns of the model's configuration
        return _from_pretrained(AutoTokenizer, base, path)


def load_own_tokenizer(base: BaseModelSource, commit: str | None) -> Any:
    """The tokenizer that the study names in place of the model's. `commit`: of one on the hub."""
    return _from_pretrained(AutoTokenizer, base, base.tokenizer or "", "base_model.tokenizer", revision=commit)


def load_complete(base: BaseModelSource, path: str, dtype: torch.dtype | str, **more: Any) -> Any:
    """A model in host memory, or where `more`, options of `from_pretrained`, puts it. Raises InputError where it is not
    the checkpoint's weights alone: transformers fills what is missing with random numbers.
    """
    options = {"dtype": dtype, "output_loading_info": True} | more
    with quiet():  # its report is in the error
        model, report = _from_pretrained(AutoModelForCausalLM, base, path, **options)
    lost = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if lost:
        raise InputError(missing_line(lost))
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers logs of a model, while the block runs: what is wrong is said in our words."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)


def missing_line(names: list[str], fix: str = "") -> str:
    """What is said of weights that the checkpoint does not hold."""
    more = f" and {len(names) - 1:,} more weights" if names[1:] else ""
    which = f"{names[0]}{more} {'are' if more else 'is'}"
    return f"base_model.pretrained: {which} not in the checkpoint, and would be random: {fix}{AGAIN}"


def load_model(study: Study, path: str, workers: WorkerGroup) -> Any:
    """The base model with float32 master weights, ready for training as the study's `execution` states.

    Each of several workers reads and holds only its own part of each weight (transformers' loading into FSDP2); with an
    older transformers it reads the model into host memory and keeps its part. A sharded model computes in bfloat16 by
    its own policy; for others see `trainers.model.token_loss`. Raises InputError where the model cannot be loaded, or
    where the study's `execution` does not suit it.
    """
    model = _from_pretrained(AutoModelForCausalLM, study.base_model, path, **_options(study, workers))
    model = model.to(workers.device) if workers.size == 1 else model
    model.config.use_cache = False
    fitting.checkpoint_activations(model, study.execution)
    output_layer.fuse(model, study.execution, workers.device)
    if workers.sharded:
        if workers.size == 1 or not LOADS_SHARDED:
            fitting.shard(model, study.training.precision, workers)
        fitting.set_communication(model, study.execution, workers)
    if study.execution.compile:
        fitting.compile_layers(model)
    return model


def _options(study: Study, workers: WorkerGroup) -> dict[str, Any]:
    _refuse_attention(study, workers.device)
    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": study.execution.attention}
    if workers.size > 1 and LOADS_SHARDED:
        mixed = study.training.precision == "bfloat16"
        options["distributed_config"] = DistributedConfig(fsdp_size=workers.size, fsdp_mixed_precision=mixed)
    return options


def _refuse_attention(study: Study, device: torch.device) -> None:
    if study.execution.attention == "flex_attention" and device.type == "cpu":
        raise InputError(
            "execution.attention: flex_attention needs a GPU, as torch cannot train with it on a CPU: write sdpa"
        )
    if study.execution.attention != "flash_attention_2":
        return
    if study.training.precision != "bfloat16":
        raise InputError(
            "execution.attention: flash_attention_2 computes in bfloat16: write training.precision: bfloat16"
        )
    if not is_flash_attn_2_available():
        raise InputError(
            "execution.attention: flash_attention_2 needs a GPU and the package flash-attn: install it on every node, "
            "or write sdpa"
        )


def fingerprint(folder: Path) -> str:
    """Identifies the content of a model's directory."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return fingerprint_of([[str(file.relative_to(folder)), sha256(file)] for file in files])


def _from_hub_or_disk(loader: Any, path: str, options: dict[str, Any]) -> Any:
    try:
        return loader.from_pretrained(path, **options)
    except Exception as error:  # transformers itself uses its cache for some of its requests only
        if not network_fault(error):
            raise
        log.warning("%s: the hub cannot be reached (%s): using the cached copy; %s", path, error, SAVES_THE_WAIT)
        return loader.from_pretrained(path, **options, local_files_only=True)


def _from_pretrained(
    loader: Any, base: BaseModelSource, path: str, where: str = "base_model.pretrained", **options: Any
) -> Any:
    """What a class of transformers loads: from the hub or, where that cannot be reached, from its local copy.

    Raises InputError, which names the study's field `where`, for what cannot be loaded.
    """
    options = {"revision": base.revision, "trust_remote_code": base.trust_remote_code} | options
    try:
        with LOADING:
            return _from_hub_or_disk(loader, path, options)
    except (MemoryError, torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # of transformers, tokenizers and safetensors, which each have their own
        if disk.fault(error, path):
            raise
        what = "the tokenizer of " if loader is AutoTokenizer else ""
        raise InputError(
            f"{where}: {what}{path} could not be loaded ({one_line(error)}); give a "
            f"directory that save_pretrained wrote, or the id of a causal language model that this machine can reach"
        ) from None


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
