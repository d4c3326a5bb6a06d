"""What a plan has to know of a model: its shape, the length that it was made for, and what vLLM will miss in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic

from analysis.launch.serving.plan import ServedModel
from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.files.reader import read_object
from sweep.study.sizes.known import EMBEDDED, KNOWN
from sweep.study.sizes.shape import Shape
from sweep.verbs.serving import template
from sweep.verbs.serving.named import ModelToServe, config_of

TIMEOUT_SECONDS = 5
POSITIONS = "max_position_embeddings"


def describe(model: ModelToServe) -> ServedModel:
    """Loads no weights; asks the hub only of a model that is neither here nor known. Raises InputError."""
    if model.folder is None and model.source in EMBEDDED:
        raise InputError(f"{model.name}: vLLM finds it in no folder: give that of the model that was trained from it")
    if model.folder is None and model.source in KNOWN:
        return ServedModel(model.name, model.source, KNOWN[model.source].shape)
    config = config_of(model.folder) if model.folder else _from_the_hub(model.source)
    positions = config.get(POSITIONS)
    return ServedModel(
        name=model.name,
        source=model.source,
        shape=_shape(model.name, config),
        positions=positions if isinstance(positions, int) and positions > 0 else None,
        local=model.folder is not None,
    )


def remarks(model: ModelToServe) -> list[str]:
    """What a folder's files lack for a chat; nothing where they cannot be read, which the server will tell."""
    folder = model.folder
    if folder is None:
        return []
    settings = _json(folder / "tokenizer_config.json")
    if not (folder / "chat_template.jinja").is_file() and not settings.get("chat_template"):
        return [f"{model.name} has no chat template: it is served for completions (/v1/completions) alone"]
    unstated = _unstated_end(folder)
    return [f"{model.name}: {unstated}"] if unstated else []


def _unstated_end(folder: Path) -> str | None:
    """Whether vLLM would go on after an answer: it stops at what the tokenizer and generation_config.json state."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        end = template.end_of_turn(tokenizer)
    except Exception:  # of transformers, tokenizers and jinja2
        return None
    stated = [_json(folder / name).get("eos_token_id") for name in ("generation_config.json", "config.json")]
    ids = {tokenizer.eos_token_id, *(one for ids in stated for one in (ids if isinstance(ids, list) else [ids]))}
    if end is None or end in ids:
        return None
    return (
        f"its chat template ends a turn with {tokenizer.convert_ids_to_tokens(end)}, which generation_config.json does "
        f"not state: vLLM would not stop there: add {end} to its eos_token_id"
    )


def _shape(name: str, config: dict[str, Any]) -> Shape:
    try:
        return Shape.of_config(config)
    except ValueError as error:
        missing = isinstance(error, pydantic.ValidationError)
        fields = ", ".join(str(e["loc"][0]) for e in error.errors() if e["loc"]) if missing else ""  # type: ignore[attr-defined]
        why = f"its config.json lacks {fields}" if fields else one_line(error, 150)
        raise InputError(
            f"{name}: memory is planned for models of the Llama kind, and this is none ({why}): write the flags of "
            f"vllm serve yourself"
        ) from None


def _from_the_hub(name: str) -> dict[str, Any]:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        HfApi().model_info(name, timeout=TIMEOUT_SECONDS)
        path = hf_hub_download(name, "config.json", etag_timeout=TIMEOUT_SECONDS)
    except Exception as error:  # of several network libraries
        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):
            raise InputError(
                f"{name}: no such folder, run or trial, and the hub did not answer ({type(error).__name__}): check the "
                f"name, the network and HF_TOKEN"
            ) from None
        path = cached
    return _json(Path(path))


def _json(path: Path) -> dict[str, Any]:
    return read_object(path) or {}
