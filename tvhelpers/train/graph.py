"""Why does a GPU not wait for Python?  The forward and backward pass of a batch are captured as one
CUDA graph for each shape, and replayed.

A replay runs the same kernels on the same addresses: each batch is copied into fixed inputs, the
weights get fixed gradients, and whatever else changes (weights, the scale of gradients) changes in
place.
"""

import contextlib
import gc
import logging
import math
import time
from collections.abc import Callable

import torch

from tvhelpers.config import TrainConfig
from tvhelpers.errors import InputError, one_line
from tvhelpers.train.batches import Batch
from tvhelpers.train.memory import is_out_of_memory

log = logging.getLogger(__name__)
WARM_UPS = 3  # as often as PyTorch's own `make_graphed_callables`
# Largest difference of a replay from an eager step, relative to the eager loss and gradient.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
TF32_ROUNDING = 1e-3  # of convolutions in float32, which a GPU computes in TF32


def is_captured(config: TrainConfig, device: str) -> bool:
    """Return whether steps are to be captured; raises InputError if that is asked for on a CPU."""
    if config.capture == "true" and device == "cpu":
        raise InputError("unfit-device.capture", device=device)
    return config.capture != "false" and device != "cpu"


class Graph:
    """The CUDA graph of a function that returns a tensor and reads nothing from the device."""

    def __init__(self, function: Callable[[], torch.Tensor], side, pool_of=None):
        """Run the function a few times on the stream `side` and capture it, in the memory of the
        graph `pool_of`: only one of them is replayed at a time.  Raises RuntimeError if it cannot
        be captured."""
        self.graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self.pool = pool_of.pool if pool_of else torch.cuda.graph_pool_handle()
        torch.cuda.empty_cache()  # of the eager step, as the graph's memory is its own
        side.wait_stream(stream)
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    function()
        finally:  # after an error too: memory that is freed now is used on this stream next
            stream.wait_stream(side)
        gc.collect()  # of an autograd graph that lives on, a node would keep the other stream
        try:
            # "thread_local": another thread, which prepares the next batch, may use the GPU
            with torch.cuda.graph(self.graph, self.pool, side, "thread_local"):
                self.result = function()
        except Exception as error:
            self._end()
            # the first error: after it the end of the capture fails too
            raise (error.__context__ or error) from None
        finally:
            torch.cuda.set_stream(stream)  # which `graph` does not restore after an error

    def _end(self) -> None:
        """End a failed capture, which PyTorch's allocator and its generator of random numbers
        otherwise take to be under way."""
        where = torch.cuda.current_device(), self.pool
        with contextlib.suppress(RuntimeError):  # the allocator has ended it already
            torch._C._cuda_endAllocateToPool(*where)
            torch._C._cuda_releasePool(*where)
        with contextlib.suppress(RuntimeError):  # of a GPU that has failed
            generator = torch.cuda.default_generators[where[0]]
            # it may stay marked as captured, and then refuses to draw; a copy of its state is not
            generator.graphsafe_set_state(generator.clone_state())

    def replay(self) -> torch.Tensor:
        """Run the kernels again, and return the tensor, which the next replay overwrites."""
        self.graph.replay()
        return self.result


class Replays:
    """Computes batches as the function `compute` does, by replaying a graph for each shape.

    The first batch of a shape is computed both ways.  If the results differ, or if it cannot be
    captured, all further ones are computed eagerly, and `notice` is called with the reason.  Only
    a batch that begins a step is captured; the rest of a step, of another shape, stays eager.
    """

    def __init__(self, compute: Callable, weights: list, dtype: torch.dtype, notice: Callable):
        """`compute(batch)` adds to the gradients of `weights` and returns the loss."""
        self.compute, self.weights, self.notice, self.on = compute, weights, notice, True
        self.rounding, on_gpu = ROUNDING[dtype], weights[0].is_cuda
        self.side = torch.cuda.Stream() if on_gpu else None  # on which all graphs are captured
        if on_gpu and torch.backends.cudnn.allow_tf32:
            self.rounding = max(self.rounding, TF32_ROUNDING)
        self.release()

    def release(self) -> None:
        """Free graphs and gradients; they are made again when they are needed."""
        self.graphs: dict[tuple, tuple[Graph, Batch]] = {}
        self.gradients: list[torch.Tensor | None] = []  # fixed; None for weights without any

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Add the gradients of a batch on the device, and return its loss, which the next call may
        overwrite."""
        parts = vars(batch).values()
        shape = tuple(part if part is None else (part.shape, part.dtype) for part in parts)
        if shape in self.graphs:
            graph, inputs = self.graphs[shape]
            self._set_gradients([weight.grad for weight in self.weights])
            inputs.copy_(batch)
            return graph.replay()
        if self.on and all(weight.grad is None for weight in self.weights):
            return self._first(shape, batch)
        return self.compute(batch)

    def _first(self, shape: tuple, batch: Batch) -> torch.Tensor:
        """Compute a batch eagerly, and capture it if a replay gives the same."""
        loss = self.compute(batch)
        eager = [weight.grad for weight in self.weights]
        if not all(map(math.isfinite, (loss, norm(eager)))):
            return loss  # nothing to compare; the first scales of fp16's gradients are too high
        began = time.monotonic()
        if problem := self._capture(shape, batch, loss, eager):
            self.on = False
            self.release()
            for weight, gradient in zip(self.weights, eager, strict=True):
                weight.grad = gradient
            self.notice(f"steps are not captured in a CUDA graph: {problem}", captured=False)
        else:
            log.info(f"step captured in a CUDA graph in {time.monotonic() - began:.1f} s")
        return loss

    def _capture(self, shape: tuple, batch: Batch, loss: torch.Tensor, eager: list) -> str:
        """Capture the shape of a batch and compare a replay of it with its eager `loss` and
        gradients, which the weights then have; return the problem in words, "" for none.

        It is captured on zeros, so that a replay shows what it would not read again.
        """
        zeros, pool_of = [None] * len(eager), next(iter(self.graphs.values()), (None,))[0]
        try:
            self.gradients = self.gradients or [x if x is None else x.clone() for x in eager]
            self._set_gradients(zeros)
            inputs = batch.each(torch.zeros_like)
            graph = Graph(lambda: self.compute(inputs), self.side, pool_of)
            inputs.copy_(batch)
            self._set_gradients(zeros)
            seen = graph.replay()
            difference = max(_difference([seen], [loss]), _difference(self.gradients, eager))
        except Exception as error:  # of any kind, from the base's own forward pass
            return "not enough memory" if is_out_of_memory(error) else one_line(error)
        if not difference <= self.rounding:
            return f"a replay differs by {difference:.1e}, and {self.rounding:.0e} is allowed"
        self._set_gradients(eager)
        self.graphs[shape] = graph, inputs
        return ""

    def _set_gradients(self, values: list[torch.Tensor | None]) -> None:
        """Give the weights their fixed gradients with these values, None for 0."""
        rows = zip(self.weights, self.gradients, values, strict=True)
        fixed = [row for row in rows if row[1] is not None]
        if zeros := [own for _, own, value in fixed if value is None]:
            torch._foreach_zero_(zeros)
        for weight, own, value in fixed:
            if value is not None and value is not own:
                own.copy_(value)
            weight.grad = own


def _difference(seen: list, wanted: list) -> float:
    """Return the norm of the difference of two lists of tensors or None, relative to `wanted`."""
    if [x is None for x in seen] != [x is None for x in wanted]:
        return math.inf
    pairs = [(x, y) for x, y in zip(seen, wanted, strict=True) if x is not None]
    error = torch.stack([torch.dist(x, y) for x, y in pairs]).norm().item()
    return error and error / (norm(wanted).item() or math.nan)


def norm(gradients: list[torch.Tensor | None]) -> torch.Tensor:
    """Return the norm of gradients, of which some may be None, still on the device."""
    return torch.nn.utils.get_total_norm([x for x in gradients if x is not None])
