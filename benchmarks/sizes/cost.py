"""What every point of ``points.py`` costs: time against the reference, products, operations.

python benchmarks/sizes/cost.py [--only c64] [--rounds 15]

Energy and forces in float32 of one molecule, one thread, hypergraph included, random weights (the
time does not depend on them). Point and reference are timed in turns, in time of the processor, and
the ratio is the median over the rounds, so that other programs on the machine matter less. Two
counts do not see them at all: floating point operations of the energy's matrix products, and the
operations that torch dispatches.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from points import ACCURACY, COST, POINTS, REFERENCE, Point
from rdkit import Chem
from rdkit.Chem import AllChem
from sweep import processor, revision
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

import se3set_mlip
from se3set_mlip.configuration import config_from_dict
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.topology.molecule import Topology

SMILES = {
    "acetylacetone": "CC(=O)/C=C(/C)O",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "Ac-Ala3-NHMe": "CC(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)NC",
}
CALLS = 4


class Dispatched(TorchDispatchMode):
    """Counts the operations that torch dispatches; views are among them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def geometry(smiles: str) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers and a relaxed geometry, (n_atoms, 3) in Å."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=1) != 0:
        raise RuntimeError(f"RDKit finds no geometry of {smiles} with seed 1; give another seed")
    AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    return numbers, np.array(molecule.GetConformer().GetPositions())


class Case:
    """One point on one molecule, ready to be computed.

    Parameters
    ----------
    point
        The settings.
    numbers, positions
        The molecule: (n_atoms,) and (n_atoms, 3) in Å.
    """

    def __init__(self, point: Point, numbers: np.ndarray, positions: np.ndarray) -> None:
        torch.manual_seed(0)
        elements = sorted({int(number) for number in numbers})
        config = config_from_dict(
            PotentialConfig,
            {"model": {**point.model, "elements": elements}, "hypergraph": point.hypergraph},
        )
        module = PotentialModule(config, dtype=torch.float32)
        module.set_energies(reference=dict.fromkeys(elements, 0.0), scale=1.0)
        self.potential = Potential(module, config)
        topology = Topology.from_coordinates(numbers, positions, 0)
        fragments = self.potential.fragment(topology, positions)
        self.system = self.potential.system(numbers, positions, fragments)

    def energy(self) -> None:
        """Compute the energy."""
        self.potential.compute(self.system, forces=False)

    def forces(self) -> None:
        """Compute energy and forces."""
        self.potential.compute(self.system)

    def milliseconds(self) -> float:
        """Return the processor time of energy and forces, the least of a few calls."""
        times = []
        for _ in range(CALLS):
            start = time.process_time()
            self.forces()
            times.append(time.process_time() - start)
        return 1000.0 * min(times)

    def counts(self) -> dict[str, float]:
        """Return what can be counted."""
        with FlopCounterMode(display=False) as flops:
            self.energy()
        with Dispatched() as forward:
            self.energy()
        with Dispatched() as both:
            self.forces()
        return {
            "energy_gflop": flops.get_total_flops() / 1e9,
            "energy_operations": forward.count,
            "forces_operations": both.count,
        }


def measure(name: str, molecule: str, *, rounds: int) -> dict[str, float]:
    """Time a point and the reference in turns, and count."""
    numbers, positions = geometry(SMILES[molecule])
    case = Case(POINTS[name], numbers, positions)
    reference = Case(POINTS[REFERENCE], numbers, positions)
    for warm in (case, reference):
        warm.milliseconds()
    times = [(case.milliseconds(), reference.milliseconds()) for _ in range(rounds)]
    return {
        "n_atoms": len(numbers),
        "ms": min(mine for mine, _ in times),
        "reference_ms": min(other for _, other in times),
        "ratio": statistics.median(mine / other for mine, other in times),
        **case.counts(),
    }


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=POINTS, help="a point; all trained ones")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"package: {se3set_mlip.__file__}")
    torch.set_num_threads(1)
    COST.mkdir(parents=True, exist_ok=True)
    trained = [name for name in POINTS if (ACCURACY / f"{name}.json").exists()]
    for name in tqdm(options.only or trained, unit="point"):
        row = {
            "name": name,
            "threads": 1,
            "systems": {m: measure(name, m, rounds=options.rounds) for m in SMILES},
            "torch": torch.__version__,
            "revision": revision(),
            "processor": processor(),
        }
        path = COST / f"{name}.json"
        path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
        shown = ", ".join(
            f"{m} {s['ms']:.1f} ms, x {s['ratio']:.2f}" for m, s in row["systems"].items()
        )
        tqdm.write(f"{name}: {shown}")


if __name__ == "__main__":
    main()
