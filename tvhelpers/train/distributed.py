"""Who trains together?  This process alone, or those that `accelerate launch` started.

Each computes its share of a step's samples; their gradients are added, so all hold the same weights
throughout.  Only the main one writes.
"""

import contextlib
import logging
import os
from pathlib import Path

import torch
from torch import distributed

from tvhelpers.files import locked

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # set by torch's launcher, by MPI's
BUCKET = 2**25  # numbers sent at once


class Processes:
    """Who we are among how many, and what we say to each other; each computes on its `device`."""

    def __init__(self, device: str = "cpu"):
        self.device, self.index, self.count, self._hosts = device, 0, 1, None
        if any(int(os.environ.get(name, 1)) > 1 for name in SIZES):
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu")
            self.index, self.count = state.process_index, state.num_processes
            self._hosts = distributed.new_group(backend="gloo")  # words of the hosts, not tensors
        if not self.main:  # one of them speaks for all
            logging.getLogger("tvhelpers").setLevel(logging.WARNING)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def part(self, count: int) -> range:
        """Return which of `count` things are this process's: of every thing exactly one's."""
        return range(count * self.index // self.count, count * (self.index + 1) // self.count)

    def any(self, *flags: bool) -> list[bool]:
        """Return each flag as true where it is so on any process."""
        if self._hosts is None:
            return [*flags]
        raised = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX, group=self._hosts)
        return raised.bool().tolist()

    def share(self, value):
        """Return the main process's `value` on all; waits until all are here."""
        if self._hosts is None:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self._hosts)
        return box[0]

    def locked(self, path: Path, wait: bool = False) -> contextlib.AbstractContextManager:
        """Hold the lock file of a folder within the block, where this is the main process."""
        return locked(path, wait) if self.main else contextlib.nullcontext()

    def add(self, tensors: list[torch.Tensor]) -> None:
        """Put in place of each tensor its sum over the processes."""
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
