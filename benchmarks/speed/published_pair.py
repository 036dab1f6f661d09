"""The authors' network and ours with the same weights, and the same input for both.

The published network is imported from a checkout of its repository and built with the settings and
statistics for aspirin that lie there. The hypergraph is made here: implicit overlap by the hard
rule of arXiv 2405.16511.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
import yaml
from rdkit import Chem
from rdkit.Chem import AllChem

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.build import HypergraphBuilder, HypergraphConfig
from se3set_mlip.hypergraph.hypergraph import Hypergraph, System, moved
from se3set_mlip.model.published import load_published, published_config
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.potential.inputs import make_system

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
PRESET = "implicit_md22"
SETTINGS = "train_config/md17/aspirin_template.yaml"
STATISTICS = "train_config/statistics/MD17_Aspirin.yaml"


def load_program(checkout: Path) -> type[torch.nn.Module]:
    """Return the class of the authors' network, without what they import for training."""
    for name in ("se3set", "se3set.model"):
        package = ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules[name] = package
    network: type[torch.nn.Module] = importlib.import_module("se3set.model.model").SE3Set
    return network


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Make new tensors of this type, also where the published program asks for ``float()``."""
    default, to_float = torch.get_default_dtype(), torch.Tensor.float
    torch.set_default_dtype(dtype)
    torch.Tensor.float = lambda tensor: tensor.to(dtype)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        torch.set_default_dtype(default)
        torch.Tensor.float = to_float  # type: ignore[method-assign]


@dataclass(frozen=True)
class Batch:
    """Copies of aspirin, each moved a little, with a hypergraph by the published rule.

    Parameters
    ----------
    system
        All copies.
    builder
        Makes hypergraphs by the published rule.
    graph
        Their hypergraph; every weight is 1.
    """

    system: System
    builder: HypergraphBuilder
    graph: Hypergraph

    @classmethod
    def of_aspirin(cls, *, copies: int, dtype: torch.dtype) -> "Batch":
        """Embed aspirin, relax it, move its atoms by 0.02 Å and split it into fragments."""
        mol = Chem.AddHs(Chem.MolFromSmiles(ASPIRIN))
        if AllChem.EmbedMolecule(mol, randomSeed=1) != 0:
            raise RuntimeError(f"RDKit embeds {ASPIRIN} in no geometry")
        AllChem.MMFFOptimizeMolecule(mol, maxIters=2000)
        relaxed = mol.GetConformer().GetPositions()
        topology = s3.Topology.from_rdkit(mol)
        fragmentation = s3.fragment(topology, relaxed, preset=PRESET)
        rng = np.random.default_rng(1)
        system = batch_systems(
            [
                make_system(
                    topology.numbers,
                    relaxed + rng.normal(0.0, 0.02, relaxed.shape),
                    fragmentation,
                    elements=(1, 6, 8),
                    dtype=dtype,
                    device=torch.device("cpu"),
                )
                for _ in range(copies)
            ]
        )
        builder = HypergraphBuilder(HypergraphConfig(membership="hard"), PRESETS[PRESET])
        graph = builder(system)
        if not (bool((graph.incidence_weight == 1).all()) and bool((graph.pair_weight == 1).all())):
            raise RuntimeError("hard membership gave weights other than 1")
        return cls(system, builder, graph)

    def for_program(self) -> SimpleNamespace:
        """Return the batch in the form that the published network takes."""
        atom, structure = self.graph.incidence_atom, self.system.structure
        return SimpleNamespace(
            z=self.system.numbers,
            pos=self.system.positions.clone().requires_grad_(True),
            e2v_index=torch.stack([torch.arange(len(atom)), atom]),
            v2e_index=torch.stack([self.graph.pair_source, self.graph.pair_incidence]),
            batch=structure,
            num_graphs=self.system.cell.shape[0],
            num_nw_hyperedges=torch.bincount(structure[atom]),
        )

    def moved_graph(self, positions: torch.Tensor) -> Hypergraph:
        """Return the hypergraph with its vectors computed from positions (n_atoms, 3)."""
        centre = self.graph.incidence_atom[self.graph.pair_incidence]
        return self.graph._replace(
            pair_vector=positions[self.graph.pair_source] - positions[centre]
        )

    def new_graph(self, positions: torch.Tensor) -> Hypergraph:
        """Return the hypergraph, made anew at positions (n_atoms, 3)."""
        graph: Hypergraph = self.builder(moved(self.system, positions, self.system.cell))
        return graph


@dataclass(frozen=True)
class Pair:
    """The published network and ours, with the same weights."""

    program: torch.nn.Module
    ours: SE3Set

    @classmethod
    def build(cls, checkout: Path, dtype: torch.dtype) -> "Pair":
        """Build both; the weights come from the published program's own initialisation."""
        settings = yaml.safe_load(checkout.joinpath(SETTINGS).read_text())["model_params"]
        averages = yaml.safe_load(checkout.joinpath(STATISTICS).read_text())
        torch.manual_seed(1)
        with computing_in(torch.float64):
            program = load_program(checkout)(**settings, dataset_statistics=dict(averages))
            ours = SE3Set(published_config(settings, averages))
            load_published(ours, program.state_dict())
        return cls(program.to(dtype).eval(), ours.to(dtype).eval())
