"""How do several processes train together?  `accelerate launch` starts them.

Each computes its share of a step's samples, and gradients are summed, so all have the same weights
at every step.  Only the main process writes files.
"""

import logging
import os

import torch
from torch import distributed

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # set by the launchers of torch and MPI
BUCKET = 2**25  # numbers that are sent at once


class Processes:
    """The processes of a training: index, count, device, and their communication."""

    def __init__(self, device: str = "cpu"):
        self.device, self.index, self.count, self._hosts = device, 0, 1, None
        if any(int(os.environ.get(name, 1)) > 1 for name in SIZES):
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu")
            self.index, self.count = state.process_index, state.num_processes
            self._hosts = distributed.new_group(backend="gloo")  # for flags and objects on CPUs
        if not self.main:  # only one of them prints
            logging.getLogger("tvhelpers").setLevel(logging.WARNING)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def part(self, count: int) -> range:
        """Return this process's part of `count` things; each thing is in exactly one part."""
        return range(count * self.index // self.count, count * (self.index + 1) // self.count)

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is true on any process."""
        if self._hosts is None:
            return [*flags]
        raised = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX, group=self._hosts)
        return raised.bool().tolist()

    def broadcast(self, value):
        """Return the main process's `value` on all processes, after waiting for all of them."""
        if self._hosts is None:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self._hosts)
        return box[0]

    def all_reduce(self, tensors: list[torch.Tensor]) -> None:
        """Replace each tensor, in place, with its sum over the processes."""
        if self._hosts is None:
            return
        bucket: list[torch.Tensor] = []
        for i, tensor in enumerate(tensors):
            bucket.append(tensor)
            if i + 1 == len(tensors) or sum(each.numel() for each in bucket) >= BUCKET:
                _add_flat(bucket)
                bucket = []


def _add_flat(tensors: list[torch.Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))
