"""What lets a large model be trained changes nothing of what is trained: each part against the plain way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from sweep.study import InputError, Objective, Record, Study, Trial
from sweep.study.sections.recipe.training import Optimizer, Training
from sweep.study.sections.resources import Execution
from sweep.study.sizes import shape
from trainers import prepare
from trainers.data.mixture import BatchReader
from trainers.data.tokens.borders import Borders
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.held_out import HeldOut
from trainers.loop.learner import Learner, train
from trainers.loop.optimizer import make_optimizer, set_lr
from trainers.loop.out_of_memory import MicroBatch, MicroBatchHalvedError, halved, store_micro_batch, stored_micro_batch
from trainers.model import fitting, output_layer
from trainers.model.token_loss import IGNORED, TokenLoss, positions
from trainers.trials import cpt
from trainers.workers.group import ALONE, WorkerGroup

COST = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes", "provenance"}
END = 7
BORDERS = Borders(after=(END,))


def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=50
    )
    return LlamaForCausalLM(config)


def recipe(**changes: Any) -> Training:
    return Training.model_validate({"sequence_length": 8, "tokens": 256, "global_batch_tokens": 64} | changes)


def trained(model: Any, execution: Execution | None = None, **changes: Any) -> list[float]:
    """The losses of four steps."""
    if execution:
        fitting.checkpoint_activations(model, execution)
        output_layer.fuse(model, execution, torch.device("cpu"))
    data = [torch.arange(64).reshape(8, 8) % 50 for _ in range(4)]
    return [step.loss for step in train(model, data, recipe(**changes), 1e-2, lambda step: False)]


def run(study: Study, folder: Path, lr: float = 1e-2) -> Record:
    folder.mkdir(parents=True, exist_ok=True)
    record = cpt.run_trial(study, Trial(almr=0.5, lr=lr, seed=0), prepare.prepare(study), folder)
    assert record
    return record


def with_training(study: Study, **changes: Any) -> Study:
    content = study.training.model_dump() | changes
    return study.model_copy(update={"training": Training.model_validate(content)})


def test_a_document_does_not_see_the_one_before_it() -> None:
    model = llama().eval()
    model.config.use_cache = False
    one = torch.tensor([[1, 2, 3, END, 11, 12, 13, 14]])
    other = torch.tensor([[9, 8, 5, END, 11, 12, 13, 14]])
    logits = [model(input_ids=tokens, position_ids=positions(tokens, BORDERS)).logits for tokens in (one, other)]
    torch.testing.assert_close(logits[0][:, 4:], logits[1][:, 4:])
    alone = model(input_ids=one[:, 4:]).logits
    torch.testing.assert_close(logits[0][:, 4:], alone)
    assert not torch.allclose(logits[0][:, :4], logits[1][:, :4])


def test_positions_start_anew_with_every_document() -> None:
    tokens = torch.tensor([[END, 1, 2, END, END, 3], [1, 2, 3, 4, 5, 6]])
    assert positions(tokens, BORDERS).tolist() == [[0, 0, 1, 2, 0, 0], [0, 1, 2, 3, 4, 5]]


def test_a_documents_first_token_is_not_predicted() -> None:
    model, tokens = llama(), torch.tensor([[1, 2, END, 11, 12, 13]])
    loss = TokenLoss(model, borders=BORDERS)
    assert loss.predicted(tokens) == 4
    parts = [TokenLoss(model).sum(part) for part in (tokens[:, :3], tokens[:, 3:])]
    torch.testing.assert_close(loss.sum(tokens), parts[0] + parts[1])


@pytest.mark.parametrize("how", ["full", "selective"])
def test_recomputed_activations_are_the_same(how: Any) -> None:
    assert trained(llama(), Execution(activation_checkpointing=how)) == pytest.approx(trained(llama()), rel=1e-5)


def test_an_output_layer_in_parts_gives_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained(llama())
    for module in (output_layer, shape):
        monkeypatch.setattr(module, "LOGITS_BYTES", 50 * 4 * 3)  # three tokens at once
    model = llama()
    assert trained(model, Execution()) == pytest.approx(plain, rel=1e-5)
    tokens = torch.arange(16).reshape(2, 8)
    assert model(input_ids=tokens).logits.shape == (2, 8, 50)  # whoever asks for logits has them
    assert IGNORED == -100  # what torch and liger leave out


def test_a_model_with_scaled_logits_keeps_its_own_output_layer() -> None:
    model = llama()
    model.config.model_type = "granite"
    output_layer.fuse(model, Execution(), torch.device("cpu"))
    assert not hasattr(model, "output_layer")
    with pytest.raises(InputError, match=r"execution\.cross_entropy: liger is not known to suit"):
        output_layer.fuse(model, Execution(cross_entropy="liger"), torch.device("cpu"))


def test_a_kernel_for_gpus_is_one_line_without() -> None:
    with pytest.raises(InputError, match=r"execution\.cross_entropy: liger needs a GPU: write torch"):
        output_layer.fuse(llama(), Execution(cross_entropy="liger"), torch.device("cpu"))


@pytest.mark.parametrize(("precision", "named"), [("float32", "computes in bfloat16"), ("bfloat16", "flash-attn")])
def test_flash_attention_is_one_line_without(local_study: Study, tmp_path: Path, precision: str, named: str) -> None:
    study = with_training(local_study, precision=precision)
    study = study.model_copy(update={"execution": Execution(attention="flash_attention_2")})
    with pytest.raises(InputError, match=rf"^execution\.attention: .*{named}"):
        run(study, tmp_path / "trial")


def test_moments_in_bfloat16_learn_as_float32_do() -> None:
    plain = trained(llama())
    assert trained(llama(), optimizer={"state": "bfloat16"}) == pytest.approx(plain, abs=0.01)
    model = llama()
    optimizer = make_optimizer(model, Optimizer(state="bfloat16"), 1e-2)
    model(input_ids=torch.arange(8)[None]).logits.sum().backward()
    optimizer.step()
    moments = [s[name] for s in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert {moment.dtype for moment in moments} == {torch.bfloat16}


def test_moments_in_8_bits_need_their_package() -> None:
    try:
        import torchao  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"training\.optimizer\.state: int8 needs torchao: pip install"):
            make_optimizer(llama(), Optimizer(state="int8"), 1e-2)
        return
    optimizer = make_optimizer(llama(), Optimizer(state="int8"), 1e-2)
    set_lr(optimizer, 0.5)
    assert all(float(group["lr"]) == 0.5 for group in optimizer.param_groups)


def test_out_of_memory_halves_the_micro_batch_and_changes_no_number(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(local_study, tmp_path / "plain")
    take = TokenLoss.sum

    def limited(self: TokenLoss, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        if self.model.training and len(tokens) > 3:
            take(self, tokens).backward()  # what it left behind must not count
            raise torch.OutOfMemoryError("injected")
        return take(self, tokens, counted)

    monkeypatch.setattr(TokenLoss, "sum", limited)
    record = run(local_study, tmp_path / "small")
    assert plain.provenance["execution"]["micro_batch_sequences"] == 8
    assert record.provenance["execution"]["micro_batch_sequences"] == 2
    assert record.loss.original == pytest.approx(plain.loss.original, rel=1e-5)
    assert record.tokens == plain.tokens
    assert stored_micro_batch(local_study, tmp_path / "later") == 2  # also of this trial, where it is resumed


def test_out_of_memory_in_an_evaluation_halves_too_before_the_first_step(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(local_study, tmp_path / "plain")
    take, began, tried = TokenLoss.sum, [], []

    def limited(self: TokenLoss, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        began.append(self.model.training)
        if not self.model.training:
            tried.append(len(tokens))
            if len(tokens) > 3:
                raise torch.OutOfMemoryError("injected")
        return take(self, tokens, counted)

    monkeypatch.setattr(TokenLoss, "sum", limited)
    monkeypatch.setenv("ALMR_CACHE", str(tmp_path / "another cache"))
    record = run(local_study, tmp_path / "small")
    assert tried[:2] == [8, 4]
    assert max(tried[2:]) == 2
    assert began[:3] == [False] * 3
    assert True in began  # and training goes on, with what the evaluation has left of the micro-batch
    assert record.provenance["execution"]["micro_batch_sequences"] == 2
    assert record.loss.original == pytest.approx(plain.loss.original, rel=1e-5)
    assert record.base_loss.original == pytest.approx(plain.base_loss.original, rel=1e-5)


@given(
    own=st.integers(1, 64),
    micro_batch=st.integers(1, 64) | st.none(),
    length=st.sampled_from([8, 2048, 8192, 10**5]),
    words=st.sampled_from([50, 49152, 256_000]),
    ran_out=st.booleans(),
    sharded=st.booleans(),
)
def test_an_evaluation_takes_a_micro_batch_or_what_is_small(
    own: int, micro_batch: int | None, length: int, words: int, ran_out: bool, sharded: bool
) -> None:
    workers = WorkerGroup(0, 1, torch.device("cpu"), sharded=sharded)
    tokens = {"original": torch.zeros(1, length, device="meta")}
    held_out = HeldOut(tokens, {}, own, workers, MicroBatch(micro_batch, ran_out))
    at_once = held_out.at_once(TokenLoss(SimpleNamespace(config=SimpleNamespace(vocab_size=words))))
    allowed = min(micro_batch or own, own)
    assert 1 <= at_once <= 16
    assert at_once * length <= 65536 or at_once == 1
    if sharded or ran_out:
        assert at_once <= allowed
    assert at_once <= allowed or 4 * at_once * length * words <= 2**28


@pytest.mark.parametrize(("size", "micro_batch"), [(1, 3), (2, 2), (8, 1)])
def test_a_sharded_model_starts_again_after_an_evaluation_ran_out_of_memory(
    size: int, micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With half of what a worker's pass really held: of 9 sequences at most its share, and at most a micro-batch."""
    out_of_memory_in_an_evaluation(monkeypatch)
    held_out = HeldOut(
        held_out_tokens(9), {}, 8, WorkerGroup(0, size, torch.device("cpu"), sharded=True), MicroBatch(6)
    )
    with pytest.raises(MicroBatchHalvedError, match=f"micro_batch_sequences {micro_batch}$"):
        held_out.losses(TokenLoss(llama()))


def test_an_evaluation_of_one_sequence_per_worker_is_not_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_memory_in_an_evaluation(monkeypatch)
    held_out = HeldOut(held_out_tokens(8), {}, 8, WorkerGroup(0, 8, torch.device("cpu"), sharded=True))
    with pytest.raises(RuntimeError, match="out of memory with one sequence at once"):
        held_out.losses(TokenLoss(llama()))


def held_out_tokens(sequences: int) -> dict[str, torch.Tensor]:
    return {"original": torch.zeros(sequences, 8, dtype=torch.int64)}


def out_of_memory_in_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(TokenLoss, "sum", full)


def test_one_sequence_too_many_is_one_line() -> None:
    with pytest.raises(RuntimeError, match="out of memory with one sequence at once: take more GPUs"):
        halved(1, 8)
    assert [halved(9, 8), halved(3, 8)] == [4, 1]


def test_a_sharded_model_is_not_gone_on_with_after_it_ran_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP2 would reduce no gradient as it should after a backward pass that was broken off."""

    def full(self: Any, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        raise torch.OutOfMemoryError("injected")

    learner = Learner(TokenLoss(llama()), recipe(), 1e-2, WorkerGroup(0, 1, torch.device("cpu"), sharded=True))
    monkeypatch.setattr(TokenLoss, "sum", full)
    with pytest.raises(MicroBatchHalvedError, match="micro_batch_sequences 4"):
        [*learner.train([torch.arange(64).reshape(8, 8) % 50], lambda step: 1.0, lambda step: False)]


def test_a_note_never_rises(local_study: Study, tmp_path: Path) -> None:
    for micro, left in ((4, 4), (2, 2), (3, 2)):
        store_micro_batch(local_study, tmp_path / "trial", micro)
        assert stored_micro_batch(local_study, tmp_path / "another trial") == left


def test_a_note_is_of_what_memory_depends_on(local_study: Study, tmp_path: Path) -> None:
    store_micro_batch(local_study, tmp_path / "trial", 2)
    assert stored_micro_batch(local_study, tmp_path / "another trial") == 2
    lighter = local_study.model_copy(update={"execution": Execution(activation_checkpointing="full")})
    assert stored_micro_batch(lighter, tmp_path / "trial") is None


def test_a_trial_that_was_killed_goes_on_as_if_it_had_not(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = with_training(local_study, log_every=1)
    whole = run(study, tmp_path / "whole")
    often = study.model_copy(update={"execution": Execution(checkpoint_minutes=1e-9)})
    save, read, seen = Checkpoints.save, BatchReader.read, []

    def dying(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        if arguments[0].step == 5:
            (self.folder.parent / "metrics.jsonl").open("a").write('{"half a li')
            raise KeyboardInterrupt

    def watched(self: BatchReader, steps: range) -> Any:
        seen.append(steps)
        return read(self, steps)

    monkeypatch.setattr(BatchReader, "read", watched)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            run(often, tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "checkpoint"
    assert [path.name for path in checkpoint.iterdir()] == ["step-5"]
    (checkpoint / ".step-6").mkdir()  # as if it had died while it wrote one
    record = run(study, tmp_path / "killed")
    assert seen == [range(8), range(5, 8)]
    assert record.model_dump(exclude=COST) == whole.model_dump(exclude=COST)
    assert record.provenance["execution"]["gone_on_from_steps"] == [5]
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    assert not checkpoint.exists()


def curve(folder: Path) -> list[tuple[Any, ...]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("lr"), line.get("held_out")) for line in lines]


def test_another_recipes_checkpoint_is_not_gone_on_from(local_study: Study, tmp_path: Path) -> None:
    learner = Learner(TokenLoss(llama()), recipe(), 1e-2)
    list(learner.train([torch.arange(64).reshape(8, 8) % 50], lambda step: 1.0, lambda step: False))
    Checkpoints(tmp_path, {"fingerprint": "a"}, None, ALONE).save(learner, {"x": 1})
    assert Checkpoints(tmp_path, {"fingerprint": "a"}, None, ALONE).newest() == {"x": 1}
    assert Checkpoints(tmp_path, {"fingerprint": "b"}, None, ALONE).newest() is None


def test_the_best_model_stays_and_no_other(local_study: Study, tmp_path: Path) -> None:
    study = local_study.model_copy(update={"keep": "best"})
    good, bad, better = (run(study, tmp_path / str(lr), lr) for lr in (3e-3, 1e-5, 1e-2))
    assert objective(better) < objective(good) < objective(bad)
    assert [path.parent.name for path in tmp_path.glob("*/model")] == ["0.01"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "0.01" / "model")
    assert sum(p.numel() for p in model.parameters()) == better.provenance["parameters"]
    assert "model" not in {path.name for path in (tmp_path / "0.003").iterdir()}


def objective(record: Record) -> float:
    value = Objective().of_record(record)
    assert value is not None
    return value


def test_a_broken_guard_is_no_objective() -> None:
    goal = Objective(forgetting_guard_percent=1)
    base = {"original": 3.0, "additional": 5.0}
    assert goal.of_losses({"original": 3.02, "additional": 4.0}, base) == 4.0
    assert goal.of_losses({"original": 3.04, "additional": 4.0}, base) is None
