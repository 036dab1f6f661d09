"""Numbers of samples become the batches of an epoch.

A batch holds a fixed number of structures, or as many as fit under a number of pairs: of what the
network's cost follows, so that batches of small and of large molecules cost about the same. The
order of an epoch depends on the seed and the epoch's number alone, so that a resumed run needs
nothing but its position to see the same batches, and the number of steps is known beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.potential.potential import Potential
from se3set_mlip.training.batches import Sample, fixed_batches

_COUNTED_AT_ONCE = 16  # structures


def epoch_order(n_samples: int, *, seed: int, epoch: int) -> list[int]:
    """Return the order of the samples in an epoch: a permutation given by seed and epoch."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(n_samples).tolist()
    return order


@dataclass(frozen=True)
class BatchPlan:
    """Which samples form which batch of which epoch."""

    costs: tuple[int, ...]
    """The cost of each sample: its pairs, or its atoms where batches have a number of structures.
    """
    structures: int | None
    """Structures per batch; the last one of an epoch may hold fewer."""
    pairs: int | None
    """Instead: the largest number of pairs in a batch. A structure with more is a batch alone."""
    seed: int

    def epoch(self, epoch: int) -> list[list[int]]:
        """Return the numbers of the samples in each batch; each sample is in one batch."""
        order = epoch_order(len(self.costs), seed=self.seed, epoch=epoch)
        ends = self._ends(order)
        return [order[i:j] for i, j in zip([0, *ends], ends, strict=False)]

    def n_steps(self, epochs: int) -> int:
        """Return the number of batches in the first ``epochs`` epochs."""
        if self.structures is not None:
            return epochs * len(self._ends(range(len(self.costs))))
        orders = (epoch_order(len(self.costs), seed=self.seed, epoch=n) for n in range(epochs))
        return sum(len(self._ends(order)) for order in orders)

    def _ends(self, order: Sequence[int]) -> list[int]:
        """Return where each batch of ``order`` ends."""
        total = len(order)
        if self.pairs is None:
            step = self.structures or total
            return [*range(step, total, step), total]
        sums = np.cumsum(np.asarray(self.costs, dtype=np.int64)[order])
        ends: list[int] = []
        end, before = 0, 0
        while end < total:
            # All whose sum fits, at least one.
            fits = int(np.searchsorted(sums, before + self.pairs, side="right"))
            end = max(fits, end + 1)
            before = int(sums[end - 1])
            ends.append(end)
        return ends


def shares(batch: Sequence[int], costs: Sequence[int], *, n_shares: int) -> list[list[int]]:
    """Divide a batch among processes so that each has about the same to do.

    The dearest sample first, each to the process with the least so far.

    Parameters
    ----------
    batch
        Numbers of samples.
    costs
        The cost of each sample of the training set.
    n_shares
        Number of processes.

    Returns
    -------
    list of list of int
        The samples of each process, in the order of the batch; empty where there are too few.
    """
    owner: dict[int, int] = {}
    load = [0] * n_shares
    for index in sorted(batch, key=lambda index: -costs[index]):
        owner[index] = load.index(min(load))
        load[owner[index]] += max(1, costs[index])
    return [[index for index in batch if owner[index] == part] for part in range(n_shares)]


@torch.no_grad()
def count_pairs(potential: Potential, samples: Sequence[Sample]) -> tuple[int, ...]:
    """Return the number of pairs in the hypergraph of each sample at its geometry."""
    builder = potential.module.get_submodule("builder")
    counts: list[int] = []
    for batch in fixed_batches(samples, _COUNTED_AT_ONCE):
        system = batch.to(potential.device).system
        graph: Hypergraph = builder(system)
        structure = system.structure[graph.incidence_atom[graph.pair_incidence]]
        counts += torch.bincount(structure, minlength=len(batch.names)).tolist()
    return tuple(counts)


def plan_batches(
    potential: Potential,
    samples: Sequence[Sample],
    *,
    structures: int | None,
    pairs: int | None,
    seed: int,
) -> BatchPlan:
    """Return the plan for batches of ``structures`` structures, or of at most ``pairs`` pairs."""
    if pairs is None:
        costs = tuple(sample.system.numbers.shape[0] for sample in samples)
    else:
        costs = count_pairs(potential, samples)
    return BatchPlan(costs=costs, structures=structures, pairs=pairs, seed=seed)
