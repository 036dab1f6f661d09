"""Energies and forces exactly as the published program computes them, from its weights.

The proof of fidelity, and a way to use a checkpoint of the published program: hard membership, its
radial envelope, energies in the unit that the weights were trained in.
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.errors import ArtifactError, ConfigError, InputError
from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.published import load_published, published_config
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.potential.derivatives import gradients
from se3set_mlip.potential.inputs import check_elements_known


def read_published(path: str | Path) -> SE3Set:
    """Read settings and weights of the published program from an ``.npz`` file, in float64.

    The file holds ``config`` (JSON with ``model`` and ``statistics``) and ``weight/<name>`` for
    every entry of the published state dict.

    Raises
    ------
    ArtifactError
        If the file cannot be read, or weights and settings do not fit each other.
    ConfigError
        If the settings ask for a variant that is not implemented here.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            config = json.loads(str(archive["config"]))
            weights = {
                key.removeprefix("weight/"): torch.from_numpy(archive[key])
                for key in archive.files
                if key.startswith("weight/")
            }
        settings = published_config(config["model"], config["statistics"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, ConfigError):
            raise
        raise ArtifactError(
            f"{path} does not hold weights of the published program ({error}); expected an .npz "
            "file with 'config' and 'weight/<name>' entries"
        ) from error
    model = SE3Set(settings).to(torch.float64)
    load_published(model, weights)
    return model.eval()


def published_hypergraph(
    numbers: torch.Tensor,
    positions: torch.Tensor,
    fragments: Sequence[Sequence[int]],
    *,
    overlap: str,
    cutoff: float,
) -> Hypergraph:
    """Return the hypergraph of one open structure by the published rules, all weights 1.

    Parameters
    ----------
    numbers, positions
        (n_atoms,) int64 and (n_atoms, 3) in Å.
    fragments
        Atoms of each fragment: core atoms for implicit overlap, all members for explicit.
    overlap
        ``"implicit"`` or ``"explicit"``.
    cutoff
        Range of implicit overlap in Å.
    """
    atoms: list[int] = []
    sources: list[int] = []
    incidences: list[int] = []
    distances = torch.cdist(positions.detach(), positions.detach())
    for fragment in fragments:
        core = list(fragment)
        members = core
        if overlap == "implicit":
            near = (distances[core] < cutoff).any(dim=0)
            near[core] = True
            members = near.nonzero().squeeze(1).tolist()
        for atom in members:
            others = [source for source in core if source != atom]
            sources += others
            incidences += [len(atoms)] * len(others)
            atoms.append(atom)
    atom_index = torch.tensor(atoms)
    pair_source = torch.tensor(sources, dtype=torch.int64)
    pair_incidence = torch.tensor(incidences, dtype=torch.int64)
    counts = torch.bincount(pair_incidence, minlength=len(atoms))
    return Hypergraph(
        numbers=numbers,
        incidence_atom=atom_index,
        incidence_weight=positions.new_ones(len(atoms)),
        incidence_absence=(counts == 0).to(positions.dtype),
        pair_source=pair_source,
        pair_incidence=pair_incidence,
        pair_vector=positions[pair_source] - positions[atom_index[pair_incidence]],
        pair_weight=positions.new_ones(len(sources)),
    )


def reproduce_published(
    path: str | Path,
    numbers: ArrayLike,
    positions: ArrayLike,
    fragments: Sequence[Sequence[int]],
    *,
    overlap: str = "implicit",
    cutoff: float = 4.0,
) -> tuple[float, NDArray[np.float64]]:
    """Return energy and forces as the published program computes them.

    Parameters
    ----------
    path
        Settings and weights; see :func:`read_published`.
    numbers, positions
        (n_atoms,) and (n_atoms, 3) in Å.
    fragments
        Atoms of each fragment; with explicit overlap all members, see ``Fragmentation.members``.
    overlap
        ``"implicit"`` or ``"explicit"``.
    cutoff
        Range of implicit overlap in Å.

    Returns
    -------
    tuple
        Energy, and forces (n_atoms, 3), in the units of the weights.

    Raises
    ------
    InputError
        For wrong shapes, unknown elements, an unknown overlap or fragments that miss an atom.
    ArtifactError, ConfigError
        If the file does not hold usable weights.
    """
    if overlap not in ("implicit", "explicit"):
        raise InputError(f"overlap = {overlap!r}, expected 'implicit' or 'explicit'")
    model = read_published(path)
    z = np.asarray(numbers, dtype=np.int64)
    points = np.asarray(positions, dtype=np.float64)
    if points.shape != (len(z), 3) or not np.isfinite(points).all():
        raise InputError(
            f"positions of shape {points.shape} for {len(z)} atoms; give finite (n_atoms, 3) in Å"
        )
    check_elements_known(z, model.config.elements)
    covered = {int(atom) for fragment in fragments for atom in fragment}
    if covered != set(range(len(z))):
        raise InputError(
            f"fragments cover atoms {sorted(covered)[:5]}..., expected all of 0..{len(z) - 1}"
        )
    leaf = torch.tensor(points, requires_grad=True)
    hypergraph = published_hypergraph(
        torch.from_numpy(z), leaf, fragments, overlap=overlap, cutoff=cutoff
    )
    energy = model(hypergraph).sum()
    forces = -gradients(energy, [leaf], False)[0]
    return float(energy.detach()), forces.numpy()
