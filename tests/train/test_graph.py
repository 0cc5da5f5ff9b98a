"""Replayed steps are the eager ones, and a replay that is not is never used.

On a CPU a stand-in replays a graph: it calls the function again on the same tensors.
"""

import inspect
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.helpers import refused
from tests.train.helpers import same, stop_at
from tvhelpers.config import build_config
from tvhelpers.data.items import GARMENT
from tvhelpers.progress import Interrupted
from tvhelpers.train import graph, step, trainer
from tvhelpers.train.batches import Batch, Batches, Prefetcher
from tvhelpers.train.evaluation import evaluate
from tvhelpers.train.log import read_evaluations, read_events
from tvhelpers.train.step import Trainer
from tvhelpers.train.trainer import train

WAYS = {
    "gradient accumulation": {"batch_size": 2, "accumulate": 3},  # stable name
    "DoRA, text encoder": {"dora": True, "text_rank": 2, "gradient_checkpointing": True},
    "all weights, EMA": {"method": "full", "ema_decay": 0.9},
    "masks": {"background_weight": 0.0},  # the loss of the zeros that are captured is 0
}


ALIVE = weakref.WeakSet()  # the stand-ins that exist


def addresses(function) -> list[int]:
    """Return where the tensors are that a graph of this function reads and writes."""
    held = inspect.getclosurevars(function).nonlocals
    replays, inputs = held["self"], held["inputs"]
    scaler = replays.compute.__self__.update.scaler
    scale = scaler._scale if scaler.is_enabled() else None
    gradients = [weight.grad for weight in replays.weights]
    tensors = [*replays.weights, *gradients, *vars(inputs).values(), scale]
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


class Again:
    """A stand-in for `graph.Graph`: runs the function again, if it would find the same addresses,
    and counts."""

    made = replayed = 0

    def __init__(self, function, side, pool_of=None):
        for _ in range(graph.WARM_UPS):
            self.result = function().clone()
        self.function, self.addresses = function, addresses(function)
        Again.made += 1
        ALIVE.add(self)

    def replay(self):
        Again.replayed += 1
        assert addresses(self.function) == self.addresses
        return self.result.copy_(self.function())


@pytest.fixture
def replayed(monkeypatch):
    """Capture steps on a CPU, by a stand-in."""
    monkeypatch.setattr(graph, "Graph", Again)
    for module in (step, trainer):
        monkeypatch.setattr(module, "is_captured", lambda config, device: config.capture != "false")
    Again.made = Again.replayed = 0
    ALIVE.clear()  # of those of other tests


def masked(cache):
    """Return a cache whose items have masks."""
    regions = np.zeros((len(cache.moments[0]), 8, 8), np.uint8)
    regions[:, 2:5, 2:5] = GARMENT
    return replace(cache, regions=(regions,))


def take_steps(trainer, count=4):
    """Take steps and return what each logs, then the weights."""
    seen = []
    for _ in range(count):
        seen += [value.clone() for value in trainer.train_step().values()]
    return seen + [weight.detach().clone() for weight in trainer.model.weights]


@pytest.mark.parametrize("way", WAYS)
def test_replayed_steps_are_the_eager_ones(way, make_trainer, replayed):
    change = masked if way == "masks" else lambda cache: cache
    eager, ours = (make_trainer(change, **WAYS[way], capture=how) for how in ("false", "auto"))
    if way == "gradient accumulation":  # as with fp16
        for each in (eager, ours):
            each.update.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    assert all(map(torch.equal, take_steps(eager), take_steps(ours)))
    assert (Again.made, Again.replayed) == (1, 4 * ours.per_step // ours.micro_batch)


def test_the_stand_in_sees_a_tensor_that_has_moved(make_trainer, replayed):
    ours = make_trainer()
    take_steps(ours, 2)
    ours.model.weights[0].data = ours.model.weights[0].data.clone()
    with pytest.raises(AssertionError):
        ours.train_step()


class OnHost(TorchDispatchMode):
    """Lists the operations on tensors of the host, which a CUDA graph cannot hold."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if torch.is_tensor(x)]
        self.seen += [str(func)] if any(x.device.type == "cpu" for x in tensors) else []
        return result


@pytest.mark.parametrize("way", WAYS)
def test_a_pass_reads_and_writes_nothing_on_the_host(way, make_trainer):
    """The device `meta` stands for a GPU: it refuses to be read."""
    trainer = make_trainer(masked if way == "masks" else lambda cache: cache, **WAYS[way])
    batch = trainer.batches.of_step(0, range(2)).each(lambda part: part.to("meta"))
    for network in trainer.model.trained().values():
        network.to("meta")
    for name in ("alphas_cumprod", "region_weights"):
        setattr(trainer, name, getattr(trainer, name).to("meta"))
    with OnHost() as host:
        trainer._compute(batch)
    assert host.seen == []
    weights = [w for network in trainer.model.trained().values() for w in network.parameters()]
    assert any(weight.grad is not None for weight in weights)


def test_an_evaluation_without_memory_takes_that_of_the_graphs(make_trainer, replayed, monkeypatch):
    plain, ours = make_trainer(capture="false"), make_trainer()
    losses = Trainer.losses

    def run_out(self, batch, plain=False):
        if plain and self.replays and self.replays.graphs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(self, batch, plain)

    monkeypatch.setattr(Trainer, "losses", run_out)
    for _ in range(2):
        assert all(map(torch.equal, take_steps(plain, 2), take_steps(ours, 2)))
        assert evaluate(plain) == evaluate(ours) and not ours.replays.graphs
    assert Again.made == 2


def test_gradients_stay_where_they_are_and_the_rest_of_a_step_is_eager(make_trainer, replayed):
    eager, ours = (make_trainer(batch_size=7, capture=how) for how in ("false", "auto"))
    eager.micro_batch = ours.micro_batch = 3
    seen, step = set(), ours.update.optimizer.step

    def spy(*args, **kwargs):
        seen.add(tuple(weight.grad.data_ptr() for weight in ours.model.weights))
        return step(*args, **kwargs)

    ours.update.optimizer.step = spy
    assert all(map(torch.equal, take_steps(eager), take_steps(ours)))
    assert len(seen) == 1 and Again.made == 1
    assert Again.replayed == 1 + (1 + 2 * 3)  # the check; without the third micro-batch of a step


def test_a_training_that_is_stopped_and_rolls_back_ends_alike(settings, tmp_path, spoil, replayed):
    """With EMA weights, which take the place of the trained ones in each evaluation."""
    spoil(lambda trainer, losses: losses * (float("nan") if trainer.step == 8 else 1))
    settings = {**settings, "ema_decay": 0.9}
    train(build_config(**settings, capture="false"), tmp_path / "eager")
    with pytest.raises(Interrupted):
        train(build_config(**settings), tmp_path / "ours", preview=stop_at(6))
    assert not ALIVE  # whatever ends a training, its graphs and their memory go with it
    train(build_config(**settings), tmp_path / "ours")
    assert not ALIVE
    assert same(tmp_path / "eager", tmp_path / "ours") and Again.made == 2
    (event,) = read_events(tmp_path / "ours")
    assert "rolled back to step" in event["event"]


def test_without_memory_graphs_are_freed_and_smaller_ones_captured(make_trainer, replayed, spoil):
    def run_out(trainer, losses):
        if trainer.step == 2 and len(losses) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    spoil(run_out)
    ours = make_trainer()
    take_steps(ours)
    assert ours.micro_batch == 2 and Again.made == 2 and len(ours.replays.graphs) == 1


@pytest.mark.parametrize("problem", ["fails", "differs", "no memory", "read once"])
def test_what_cannot_be_replayed_is_computed_eagerly(problem, make_trainer, replayed, monkeypatch):
    copy, honest = Batch.copy_, Again.replay

    def keep_noise(self, batch):
        """What a graph reads only when it is captured stays as it was."""
        copy(self, replace(batch, noise=self.noise))

    def replay(self):
        if problem == "read once":
            return honest(self)
        if problem == "fails":
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        if problem == "no memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.result

    monkeypatch.setattr(Again, "replay", replay)
    if problem == "read once":
        monkeypatch.setattr(Batch, "copy_", keep_noise)
    ours, said = make_trainer(batch_size=2, accumulate=2), []
    ours.notice = lambda what, **details: said.append((what, details))
    eager = make_trainer(batch_size=2, accumulate=2, capture="false")
    assert all(map(torch.equal, take_steps(eager), take_steps(ours)))
    ((what, details),) = said
    words = {"fails": "not permitted", "differs": "differs by 1.0e+00", "no memory": "not enough",
             "read once": "differs by"}  # fmt: skip
    assert words[problem] in what and "\n" not in what and details == {"captured": False}
    assert Again.made == 1 and not ours.replays.graphs


def test_an_overflow_of_the_first_step_is_not_compared(make_trainer, replayed, spoil):
    spoil(lambda trainer, losses: losses * (float("inf") if trainer.step == 0 else 1))
    ours = make_trainer()
    ours.update.scaler = torch.amp.GradScaler("cpu")
    take_steps(ours)
    assert (Again.made, Again.replayed) == (1, 3) and ours.replays.on


def test_capture_needs_a_gpu(settings, tmp_path):
    with refused("unfit-device"):
        train(build_config(**settings, capture="true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert build_config(capture=False).capture == "false"


def test_the_next_batch_is_drawn_meanwhile_and_is_the_same(make_trainer):
    plain, ahead = make_trainer(), make_trainer()
    ahead.draw = Prefetcher(ahead.batches.of_step)
    ahead.train_step()
    (then,) = ahead.draw.waiting
    assert then == (1, range(4)) and ahead.draw.waiting[then].result()
    plain.train_step()
    ahead.step = plain.step = 30  # another step than the one that was prepared
    assert all(map(torch.equal, take_steps(plain), take_steps(ahead)))
    ahead.release()
    with pytest.raises(RuntimeError, match="shutdown"):
        ahead.train_step()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("way", "dtype"),
    [*((way, "bfloat16") for way in WAYS), ("masks", "float32"), ("all weights, EMA", "float16")],
)
def test_captured_steps_are_eager_ones_up_to_rounding(way, dtype, make_trainer):
    change = masked if way == "masks" else lambda cache: cache
    changes = {**WAYS[way], "device": "cuda", "dtype": dtype, "steps": 20}
    eager, ours = (make_trainer(change, **changes, capture=how) for how in ("false", "true"))
    rounding = ours.replays.rounding
    first = [weight.detach().clone() for weight in ours.model.weights]
    for number in range(20):
        wanted, seen = (each.train_step() for each in (eager, ours))
        for name, allowed in {"loss": rounding, "grad_norm": 5 * rounding}.items():
            near = pytest.approx(wanted[name].item(), rel=allowed, nan_ok=True)
            assert seen[name].item() == near, (number, name)
    assert ours.replays.on and len(ours.replays.graphs) == 1
    # the optimizer makes all gradients equally large, so rounding changes signs of small ones
    wanted, seen = (
        [weight.detach() - start for weight, start in zip(each.model.weights, first, strict=True)]
        for each in (eager, ours)
    )
    assert graph._difference(seen, wanted) < 0.3


@pytest.mark.gpu
def test_a_captured_training_evaluates_and_rolls_back_as_an_eager_one(
    settings, tmp_path, monkeypatch
):
    """With EMA weights; a batch is spoilt, as a replay does not run Python again."""
    honest = Batches.of_step

    def spoilt(self, step, indices):
        batch = honest(self, step, indices)
        return replace(batch, noise=batch.noise * float("nan")) if step == 8 else batch

    monkeypatch.setattr(Batches, "of_step", spoilt)
    settings = {**settings, "ema_decay": 0.9, "device": "cuda", "dtype": "bfloat16"}
    for how in ("false", "true"):
        train(build_config(**settings, capture=how), tmp_path / how)
    eager, ours = (read_events(tmp_path / how) for how in ("false", "true"))
    assert eager == ours and ["rolled back to step" in row["event"] for row in ours] == [True]
    eager, ours = (read_evaluations(tmp_path / how) for how in ("false", "true"))
    assert [row["step"] for row in ours] == [0, 6, 12]
    for name in ("validation_loss", "training_slice_loss"):
        wanted, seen = ([row[name] for row in rows] for rows in (eager, ours))
        assert seen == pytest.approx(wanted, rel=graph.ROUNDING[torch.bfloat16])


@pytest.mark.gpu
@pytest.mark.slow
def test_compiled_steps_are_captured_too_and_memory_is_freed(make_trainer):
    ours = make_trainer(device="cuda", dtype="bfloat16", capture="true", compile=True)
    ours.compile()
    assert all(value.isfinite() for value in take_steps(ours))
    assert ours.replays.on and len(ours.replays.graphs) == 1
    held = torch.cuda.memory_reserved()
    ours.free_memory()
    assert torch.cuda.memory_reserved() < held


@pytest.mark.gpu
def test_a_forward_pass_that_reads_from_the_gpu_is_not_captured(make_trainer, spoil):
    spoil(lambda trainer, losses: losses * float(losses.sum().item() > -1))
    eager, ours = (make_trainer(device="cuda", capture=how) for how in ("false", "true"))
    said = []
    ours.notice = lambda what, **details: said.append(what)
    for one, other in zip(take_steps(eager), take_steps(ours), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert len(said) == 1 and not ours.replays.on
    torch.randn(1, device="cuda")  # neither the generator nor the allocator takes it for a capture
    assert all(value.isfinite().all() for value in take_steps(ours))
