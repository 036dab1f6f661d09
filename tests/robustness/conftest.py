"""Molecules of all kinds, and a potential with random weights that knows their elements."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule

MOLECULES = [
    "[H][H]",
    "C",
    "N",
    "O",
    "F",
    "Cl",
    "S",
    "P",
    "CC",
    "C=C",
    "C#C",
    "C=O",
    "C#N",
    "CO",
    "CN",
    "CF",
    "CCl",
    "CS",
    "CP",
    "OO",
    "NN",
    "O=C=O",
    "N#N",
    "O=S=O",
    "S=C=S",
    "CC=O",
    "CC#N",
    "CCO",
    "COC",
    "C1CC1",
    "C1CO1",
    "C1CCCCC1",
    "c1ccccc1",
    "c1ccncc1",
    "c1cc[nH]c1",
    "c1ccsc1",
    "c1ccoc1",
    "c1cnc[nH]1",
    "CC(=O)O",
    "CC(N)=O",
    "NC(N)=O",
    "C[N+](=O)[O-]",
    "CN=[N+]=[N-]",
    "CS(C)=O",
    "CS(=O)(=O)N",
    "CP(=O)(O)O",
    "OP(=O)(O)O",
    "OS(=O)(=O)O",
    "FC(F)(F)Cl",
    "C(Cl)(Cl)Cl",
    "Oc1ccccc1Cl",
    "CC(=O)CC(C)=O",
    "C1CC2CCC1C2",
    "C12CC1C2",
    "c1ccc2ccccc2c1",
    "NCC(=O)O",
    "C[C@H](N)C(=O)NC",
    "OC[C@H]1OC(O)C[C@@H]1O",
    "C=CC=C",
    "C=C=C",
    "[C-]#[O+]",
    "CNC(=O)c1ccncc1F",
    "[NH4+]",
    "[OH-]",
    "[Cl-]",
    "[F-]",
    "C[NH3+]",
    "CC(=O)[O-]",
    "C[S-]",
    "[NH3+]CC(=O)[O-]",
    "C[N+](C)(C)C",
    "OP(=O)(O)[O-]",
    "[NH4+].[Cl-]",
    "C[NH3+].CC(=O)[O-]",
    "[Li+].[Cl-]",
    "[Li+].[F-]",
    "O.O",
    "O.O.O.O.O",
    "C.O.N",
    "CC(=O)O.CC(=O)O",
]

ELEMENTS = (1, 3, 6, 7, 8, 9, 15, 16, 17)
GAP_ANGSTROM = 2.2  # between the boxes round two molecules


@cache
def reference_geometry(smiles: str) -> np.ndarray:
    """Return positions (n_atoms, 3) in Å, molecules side by side, hydrogens after heavy atoms."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    positions = np.zeros((mol.GetNumAtoms(), 3))
    edge = 0.0
    indices = Chem.GetMolFrags(mol)
    for atoms, part in zip(indices, Chem.GetMolFrags(mol, asMols=True), strict=True):
        assert AllChem.EmbedMolecule(part, randomSeed=11) == 0, smiles
        points = part.GetConformer().GetPositions()
        points += [edge - points[:, 0].min(), 0.0, 0.0]
        edge = points[:, 0].max() + GAP_ANGSTROM
        positions[list(atoms)] = points
    return positions


@pytest.fixture(scope="session")
def molecules() -> st.SearchStrategy[tuple[str, s3.Topology, np.ndarray]]:
    """SMILES, topology, and distorted positions (n_atoms, 3) in Å; atoms in RDKit's order."""

    @st.composite
    def build(draw):
        smiles = draw(st.sampled_from(MOLECULES))
        seed = draw(st.integers(0, 2**32 - 1))
        reference = reference_geometry(smiles)
        moved = reference + np.random.default_rng(seed).normal(scale=0.03, size=reference.shape)
        return smiles, s3.Topology.from_smiles(smiles), moved

    return build()


@pytest.fixture(scope="session", params=["implicit_md22", "explicit_md17"])
def potential(request) -> Potential:
    """A potential with random weights, scaled up so that small errors show."""
    config = PotentialConfig(
        model=ModelConfig(
            elements=ELEMENTS,
            interaction="attention",
            irreps="8x0e+4x1o+2x2e",
            irreps_final="8x0e",
            irreps_head="4x0e+2x1o+1x2e",
            irreps_hidden="8x0e+4x1o+2x2e",
            n_layers=1,
            n_heads=2,
            n_radial=8,
            radial_hidden=(8,),
        ),
        fragmentation=PRESETS[request.param],
        hypergraph=HypergraphConfig(cutoff_angstrom=3.5, switch_on_angstrom=2.0),
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = PotentialModule(config, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.3)
    return Potential(module.eval(), config)
