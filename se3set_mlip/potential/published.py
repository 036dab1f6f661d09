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
from se3set_mlip.potential.inputs import (
    check_apart,
    check_elements_known,
    checked_numbers,
    checked_positions,
)

_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile),  # no file, or no archive
    *(ValueError, KeyError, TypeError, AttributeError),  # an archive of something else
)


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
    except _UNREADABLE as error:
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
        charge=torch.zeros_like(numbers),
        incidence_atom=atom_index,
        incidence_weight=positions.new_ones(len(atoms)),
        incidence_absence=(counts == 0).to(positions.dtype),
        pair_source=pair_source,
        pair_incidence=pair_incidence,
        pair_vector=positions[pair_source] - positions[atom_index[pair_incidence]],
        pair_weight=positions.new_ones(len(sources)),
    )


def _check_fragments(fragments: Sequence[Sequence[int]], n_atoms: int) -> None:
    """Raise unless fragments are lists of distinct atoms that together have all of them."""
    covered: set[int] = set()
    for label, fragment in enumerate(fragments):
        atoms = np.asarray(fragment)
        if atoms.ndim != 1 or not np.issubdtype(atoms.dtype, np.integer):
            raise InputError(f"fragment {label} is {fragment!r}; give its atoms, such as [0, 1, 2]")
        if len(set(atoms.tolist())) != len(atoms):
            raise InputError(
                f"fragment {label} lists an atom twice: {atoms.tolist()[:8]}; give each once"
            )
        covered.update(atoms.tolist())
    if covered != set(range(n_atoms)):
        raise InputError(
            f"fragments cover atoms {sorted(covered)[:5]}..., expected all of 0..{n_atoms - 1}; "
            "give every atom to a fragment"
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
        For wrong shapes, unknown elements, coincident atoms, an unknown overlap, a cutoff that is
        not positive, or fragments that miss an atom or have one twice.
    ArtifactError, ConfigError
        If the file does not hold usable weights.
    """
    if overlap not in ("implicit", "explicit"):
        raise InputError(f"overlap = {overlap!r}, expected 'implicit' or 'explicit'")
    if not cutoff > 0.0:
        raise InputError(f"cutoff = {cutoff} Å; give a positive range")
    model = read_published(path)
    z = checked_numbers(numbers)
    points = checked_positions(z, positions)
    check_elements_known(z, model.config.elements)
    check_apart(points, None)
    _check_fragments(fragments, len(z))
    leaf = torch.tensor(points, requires_grad=True)
    hypergraph = published_hypergraph(
        torch.from_numpy(z), leaf, fragments, overlap=overlap, cutoff=cutoff
    )
    energy = model(hypergraph).sum()
    forces = -gradients(energy, [leaf], False)[0]
    return float(energy.detach()), forces.numpy()
