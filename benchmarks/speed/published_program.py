"""The published program and this package, side by side: one network, one answer, two times.

    git clone https://github.com/Navantock/SE3Set runs/SE3Set
    git -C runs/SE3Set checkout 886e0098
    python benchmarks/speed/published_program.py --program runs/SE3Set --standins --json FILE

Energies, forces and the gradients of the loss with respect to every weight have to agree, in
float64 and in float32, before anything is timed. Then each is called once in turn, round after
round, in float32: energy and forces of one molecule of aspirin, and the training step (loss,
backward, no optimizer) of a batch. Ratios are medians over rounds, so that a busy machine slows
both sides alike. Rows named "published" are the authors' network as it stands; "frozen" is the
least it needs for dynamics: weights without gradient, forces without a graph of their own.

``--standins`` puts plain torch in the place of torch_scatter and torch_geometric. The checkout may
lie anywhere; nothing of it is part of this repository.
"""

import argparse
import copy
import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from published_pair import Batch, Pair, computing_in
from published_standins import install

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.published import our_name

AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-4}
"""The largest difference allowed, relative to the largest value."""
WARM_UP_CALLS = 5
MEASURES = ("energy and forces", "training step")

Answer = tuple[torch.Tensor, torch.Tensor]
"""Energies (n_structures,) and forces (n_atoms, 3), in network units."""


def program_answer(network: torch.nn.Module, batch: Batch) -> Callable[[], Answer]:
    """Return a call of the published program as it stands: it always keeps the graph of forces."""
    data = batch.for_program()

    def call() -> Answer:
        energy, forces = network(data)
        return energy.view(-1), forces

    return call


def frozen_program_answer(network: torch.nn.Module, batch: Batch) -> Callable[[], Answer]:
    """Return a call with weights that need no gradient and forces that keep no graph."""
    data = batch.for_program()
    network = copy.deepcopy(network).requires_grad_(False)
    network.output_force = False

    def call() -> Answer:
        energy = network(data)[0].view(-1)
        return energy, -torch.autograd.grad(energy.sum(), data.pos)[0]

    return call


def our_answer(
    network: torch.nn.Module,
    batch: Batch,
    *,
    training: bool,
    graph_at: Callable[[torch.Tensor], Hypergraph] | None = None,
) -> Callable[[], Answer]:
    """Return a call of our network; ``graph_at`` makes the hypergraph, else only vectors change."""
    make_graph = batch.moved_graph if graph_at is None else graph_at
    structure, n_structures = batch.system.structure, batch.system.cell.shape[0]

    def call() -> Answer:
        positions = batch.system.positions.detach().requires_grad_(True)
        atomic = network(make_graph(positions))
        energy = atomic.new_zeros(n_structures).index_add(0, structure, atomic)
        gradient = torch.autograd.grad(energy.sum(), positions, create_graph=training)[0]
        return energy, -gradient

    return call


def training_step(network: torch.nn.Module, answer: Callable[[], Answer]) -> Callable[[], None]:
    """Return a step: squared errors of energies and forces, gradients of all weights."""
    weights = list(network.parameters())

    def step() -> None:
        for weight in weights:
            weight.grad = None
        energy, forces = answer()
        loss = (energy - 1.0).square().mean() + 100.0 * (forces - 0.1).square().mean()
        loss.backward()

    return step


def disagreement(pair: Pair, batch: Batch) -> dict[str, float]:
    """Return the largest differences, relative to the largest value.

    Raises
    ------
    RuntimeError
        If a weight has a gradient in one program only.
    """
    theirs = program_answer(pair.program, batch)
    mine = our_answer(pair.ours, batch, training=True)
    training_step(pair.program, theirs)()
    training_step(pair.ours, mine)()
    constants = {our_name(name) for name, _ in pair.program.named_buffers()}
    own = {
        name: weight.grad.reshape(-1)
        for name, weight in pair.ours.named_parameters()
        if name not in constants and weight.numel() > 0
    }
    expected = {
        our_name(name): weight.grad.reshape(-1)
        for name, weight in pair.program.named_parameters()
        if weight.grad is not None and weight.numel() > 0
    }
    lonely = own.keys() ^ expected.keys()
    if lonely:
        raise RuntimeError(f"weights with a gradient in one program only: {sorted(lonely)[:5]}")
    sides = {
        **{name: (a, b) for name, a, b in zip(("energy", "forces"), theirs(), mine(), strict=True)},
        "gradients of weights": (torch.cat([expected[k] for k in own]), torch.cat([*own.values()])),
    }
    return {name: float((a - b).abs().max() / a.abs().max()) for name, (a, b) in sides.items()}


def contenders(pair: Pair, measure: str, batch: Batch) -> dict[str, Callable[[], Any]]:
    """Return what is to be called for a measure, by name; the published program first."""
    published = program_answer(pair.program, batch)
    if measure == "training step":
        scripted = torch.jit.script(copy.deepcopy(pair.ours))
        return {
            "published": training_step(pair.program, published),
            **{
                f"ours, {route}": training_step(network, our_answer(network, batch, training=True))
                for route, network in {"eager": pair.ours, "scripted": scripted}.items()
            },
        }
    ours = pair.ours.requires_grad_(False)
    scripted = torch.jit.script(copy.deepcopy(ours))
    return {
        "published": published,
        "published, frozen": frozen_program_answer(pair.program, batch),
        "ours, eager": our_answer(ours, batch, training=False),
        "ours, scripted": our_answer(scripted, batch, training=False),
        "ours, eager, with hypergraph": our_answer(
            ours, batch, training=False, graph_at=batch.new_graph
        ),
    }


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Call each in turn, round after round, and return the times in seconds."""
    for call in calls.values():
        for _ in range(WARM_UP_CALLS):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return median seconds, and the median over rounds of the published program's time over it."""
    reference = times["published"]
    return {
        name: {
            "seconds": statistics.median(values),
            "fastest": min(values),
            "ratio": statistics.median(a / b for a, b in zip(reference, values, strict=True)),
        }
        for name, values in times.items()
    }


def check(checkout: Path) -> dict[str, Any]:
    """Return how far the programs disagree.

    Raises
    ------
    RuntimeError
        If it is more than ``AGREEMENT``.
    """
    results: dict[str, Any] = {}
    for dtype, tolerance in AGREEMENT.items():
        pair = Pair.build(checkout, dtype)
        with computing_in(dtype):
            found = disagreement(pair, Batch.of_aspirin(copies=2, dtype=dtype))
        results["parameters"] = sum(weight.numel() for weight in pair.program.parameters())
        results[str(dtype)] = found
        shown = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        print(f"{dtype}, {results['parameters']} parameters, relative differences: {shown}")
        if not max(found.values()) <= tolerance:
            raise RuntimeError(f"the programs disagree by more than {tolerance} in {dtype}")
    return results


def main() -> None:
    """Check, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", type=Path, required=True, help="checkout of the program")
    parser.add_argument("--standins", action="store_true", help="do without its dependencies")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--copies", type=int, default=4, help="molecules in a training batch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    if options.standins:
        install()
    torch.set_num_threads(options.threads[0])
    results: dict[str, Any] = {
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "e3nn")},
        "standins": options.standins,
        "rounds": options.rounds,
        "disagreement": check(options.program),
        "times": {},
    }
    for measure in options.measures:
        copies = options.copies if measure == "training step" else 1
        batch = Batch.of_aspirin(copies=copies, dtype=torch.float32)
        calls = contenders(Pair.build(options.program, torch.float32), measure, batch)
        for threads in options.threads:
            torch.set_num_threads(threads)
            rows = summary(in_turn(calls, options.rounds))
            title = f"{measure}, {copies} x aspirin, {threads} thread{'s' * (threads > 1)}"
            results["times"][title] = rows
            print(f"\n{title}\n  {'':30s} {'median':>8s} {'fastest':>8s}   published over it")
            for name, row in rows.items():
                print(
                    f"  {name:30s} {row['seconds']:8.4f} {row['fastest']:8.4f} {row['ratio']:8.2f}"
                )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
