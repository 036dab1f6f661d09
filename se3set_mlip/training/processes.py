"""The processes of one run: one, or those that torch's launcher has started.

    torchrun --nproc-per-node 2 -m se3set_mlip train config.yaml

All processes take the same steps: each computes its share of a batch, what they found is added up,
and all hold equal weights. The first one (rank 0) alone writes files and speaks.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from se3set_mlip.errors import ConfigError, Se3SetError

T = TypeVar("T")

# Others wait this long while the first one writes its report. A process that dies ends the wait.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """How many processes share a run, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def add_up(self, values: torch.Tensor) -> None:
        """Replace ``values`` in place by its sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)

    def any_of(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process; waits for all of them."""
        if self.size == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.int64)
        distributed.all_reduce(counts)
        return [count > 0 for count in counts.tolist()]

    def gather(self, value: T) -> list[T]:
        """Return what every process has, in all of them, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """Return in all processes what ``make`` returns in the first, where alone it is called.

        Raises
        ------
        Se3SetError
            In all processes, when ``make`` raises it in the first.
        """
        if self.size == 1:
            return make()
        outcome: list[Any] = [None]
        if self.first:
            try:
                outcome[0] = (make(), None)
            except Se3SetError as error:
                outcome[0] = (None, error)
        distributed.broadcast_object_list(outcome)
        value, refusal = outcome[0]
        if refusal is not None:
            raise refusal
        return value

    def copy_from_first(self, module: torch.nn.Module) -> None:
        """Give the module in all processes the weights of the first."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                if tensor.numel() > 0:
                    distributed.broadcast(tensor, 0)


def launched() -> bool:
    """Return whether torch's launcher has started this process."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def speaks() -> bool:
    """Return whether this process is the one of its run that prints."""
    return not launched() or os.environ["RANK"] == "0"


def join_processes() -> Processes:
    """Join the processes of a run, once; they part when this process ends.

    Tensors in main memory travel by gloo, those on a GPU by NCCL.
    """
    if not launched() or os.environ["WORLD_SIZE"] == "1":
        return Processes()
    if not distributed.is_initialized():
        backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        local = int(os.environ["LOCAL_RANK"])
        if local < torch.cuda.device_count():
            torch.cuda.set_device(local)
        distributed.init_process_group(backends, timeout=_PATIENCE)
        atexit.register(_part)
    return Processes(distributed.get_rank(), distributed.get_world_size())


def _part() -> None:
    """Leave the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def device_of_process(name: str, processes: Processes) -> str:
    """Return the device of this process where the configuration says ``name``.

    Raises
    ------
    ConfigError
        When several processes would share a GPU, or the device is neither ``cpu`` nor ``cuda``.
    """
    if processes.size == 1 or name == "cpu":
        return name
    if name != "cuda":
        raise ConfigError(
            f"run.device = {name!r} with {processes.size} processes; expected 'cpu' or 'cuda' (a "
            "GPU for each process); correct the device, or start one process"
        )
    wanted, there = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if wanted > there:
        raise ConfigError(
            f"run.device = 'cuda' with {wanted} processes on a machine where torch sees {there} "
            f"GPUs; expected a GPU for each; start fewer processes, or use 'cpu'"
        )
    return f"cuda:{os.environ['LOCAL_RANK']}"
