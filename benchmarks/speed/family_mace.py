"""MACE with random weights, as its training program makes it by default; runs where MACE is.

Defaults of mace-torch 0.3.16: 5 Å, 8 Bessel functions, harmonics up to l = 3, correlation 3, two
layers, radial network of three times 64. Called as directly as it can be: its own neighbour list
(matscipy), a dictionary of tensors, its module; no ASE, and no stress.
"""

from collections.abc import Sequence
from typing import Any

import mace.modules  # first: it lets e3nn 0.4 read its tables
import numpy as np
import torch
from e3nn import o3
from mace.data.neighborhood import get_neighborhood
from mace.tools.compile import prepare
from numpy.typing import NDArray
from speed.structure import Structure

PACKAGES = ("mace-torch", "torch", "e3nn")
ELEMENTS = (1, 6, 7, 8)
RANGE_ANGSTROM = 5.0


class MaceSubject:
    """A MACE model in float32.

    Parameters
    ----------
    model
        The module.
    device
        Where it is.
    traced
        Whether it holds torch.compile's graph, into which forces are traced.
    """

    def __init__(self, model: torch.nn.Module, *, device: str, traced: bool) -> None:
        self._model = model
        self._device = device
        self._traced = traced

    def prepare(self, structure: Structure) -> None:
        """Take another structure; weights are frozen, as its calculator does."""
        self._model.eval().requires_grad_(False)
        self._structure = structure
        self._elements = _one_hot(structure.numbers)
        self._batch: dict[str, torch.Tensor] = {}

    def energy_forces(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return energy and forces, the neighbour list made anew."""
        out = self._model(self._inputs([positions]), training=self._traced, compute_force=True)
        return float(out["energy"].detach()), out["forces"].detach().cpu().numpy()

    def prepare_training(self, copies: Sequence[NDArray[np.float64]]) -> None:
        """Make a batch; neighbour lists are made once, as its training does."""
        self._model.train().requires_grad_(True)
        self._batch = self._inputs(copies)

    def training_step(self) -> None:
        """Compute the loss of energies and forces, and its gradient."""
        self._model.zero_grad(set_to_none=True)
        out = self._model(self._batch, training=True, compute_force=True)
        per_atom = out["energy"] / self._structure.n_atoms
        loss = per_atom.pow(2).mean() + out["forces"].pow(2).mean()
        loss.backward()

    def _inputs(self, copies: Sequence[NDArray[np.float64]]) -> dict[str, torch.Tensor]:
        """Return what the module takes for a batch of geometries of the structure."""
        n = self._structure.n_atoms
        cell = self._structure.cell
        edges, shifts, units, cells = [], [], [], []
        for k, positions in enumerate(copies):
            edge, shift, unit, full_cell = get_neighborhood(
                positions,
                RANGE_ANGSTROM,
                (cell is not None,) * 3,
                np.eye(3) if cell is None else cell.copy(),
            )
            edges.append(edge + k * n)
            shifts.append(shift)
            units.append(unit)
            cells.append(full_cell)
        count = len(copies)
        inputs = {
            "positions": _float(np.concatenate(copies)).requires_grad_(True),
            "node_attrs": self._elements.repeat(count, 1),
            "edge_index": torch.from_numpy(np.concatenate(edges, axis=1)).to(torch.int64),
            "shifts": _float(np.concatenate(shifts)),
            "unit_shifts": _float(np.concatenate(units)),
            "cell": _float(np.concatenate(cells)),
            "batch": torch.arange(count).repeat_interleave(n),
            "ptr": torch.arange(count + 1) * n,
            "head": torch.zeros(count, dtype=torch.int64),
        }
        if self._device == "cpu":
            return inputs
        moved = {name: tensor.detach().to(self._device) for name, tensor in inputs.items()}
        moved["positions"].requires_grad_(True)
        return moved


def _float(values: NDArray[np.float64]) -> torch.Tensor:
    """Return values as a float32 tensor."""
    return torch.as_tensor(values, dtype=torch.float32)


def _one_hot(numbers: NDArray[np.int64]) -> torch.Tensor:
    """Return which element each atom is, (n_atoms, n_elements)."""
    index = torch.tensor([ELEMENTS.index(int(number)) for number in numbers])
    return torch.nn.functional.one_hot(index, len(ELEMENTS)).to(torch.float32)


def _model(irreps: str) -> torch.nn.Module:
    """Return the module with random weights."""
    torch.manual_seed(1)
    interaction = mace.modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return mace.modules.ScaleShiftMACE(
        r_max=RANGE_ANGSTROM,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=interaction,
        interaction_cls_first=mace.modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(ELEMENTS)),
        avg_num_neighbors=16.0,
        atomic_numbers=list(ELEMENTS),
        correlation=3,
        gate=torch.nn.functional.silu,
        use_reduced_cg=False,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def make_subject(options: dict[str, Any]) -> MaceSubject:
    """Return a subject; ``size`` states the hidden irreps, ``route`` is eager or compiled."""
    torch.set_default_dtype(torch.float32)
    traced = options["route"] == "compiled"
    if traced:
        model = prepare(_model)(options["size"])
        model = torch.compile(model.to(options["device"]), fullgraph=False, dynamic=True)
    else:
        model = _model(options["size"]).to(options["device"])
    return MaceSubject(model, device=options["device"], traced=traced)
