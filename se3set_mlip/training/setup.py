"""A configuration and its data become a potential: first weights, reference energies, a scale."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError, DatasetError
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.fragment_cache import stated_charge
from se3set_mlip.potential.inputs import has_odd_electrons
from se3set_mlip.potential.potential import Metadata, Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.datasets import Frame
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.plausibility import check_energies, check_forces
from se3set_mlip.training.references import (
    check_covered,
    mean_residual_per_atom,
    reference_energies,
    rms_force,
)

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def build_potential(
    config: TrainingConfig, data: TrainingData, *, echo: Callable[[str], None]
) -> Potential:
    """Make the potential with its first weights, its reference energies and its energy scale.

    Raises
    ------
    DatasetError
        When reference energies are lacking, energies and forces are implausible in their units, or
        structures are charged as none of the training set is.
    ConfigError
        When the device does not exist, or the initial model has other settings.
    """
    settings = config.data
    references = reference_energies(
        settings.reference_energies,
        frames=data.training,
        isolated_atoms=data.isolated_atoms,
        labels=settings.labels,
    )
    charges = trained_charges(data.training)
    closed_shells = not any(_is_open(frame) for frame in data.training)
    for part, frames in data.parts.items():
        if frames is not data.training:
            _check_electrons(frames, charges, closed_shells=closed_shells, part=part)
        check_covered(frames, references, part=part)
        if settings.check_units:
            check_energies(frames, references)
            check_forces(frames)
    if settings.shift_to_mean:
        shift = mean_residual_per_atom(data.training, references)
        references = {number: energy + shift for number, energy in references.items()}
        echo(f"reference energies shifted by {shift:.6f} eV per atom to the training set's mean")
    scale = settings.energy_scale_ev
    if scale is None:
        scale = rms_force(data.training) or 1.0
    echo(
        "reference energies: "
        + ", ".join(f"{SYMBOLS[z]} {e:.6f} eV" for z, e in sorted(references.items()))
        + f"; energy scale {scale:.6f} eV"
    )
    module = PotentialModule(config.potential, dtype=_DTYPES[config.run.dtype])
    module.set_energies(reference=references, scale=scale)
    if config.run.initial_model is not None:
        _load_weights(module, config, echo=echo)
        if not config.run.initial_energies:
            module.set_energies(reference=references)
            echo("reference energies are those of the training set")
    card = config.model_card
    metadata = Metadata(
        level_of_theory=card.level_of_theory,
        training_data=card.training_data
        or ", ".join(Path(name).name for name in config.data.train_files),
        license=card.license,
        description=card.description,
        authors=card.authors,
        charges=charges,
        closed_shells=closed_shells,
    )
    potential = Potential(module, config.potential, metadata)
    return potential.to(device=_device(config.run.device))


def trained_charges(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Return the total charges that structures have, ascending, each once."""
    return tuple(sorted({stated_charge(frame.atoms) for frame in frames}))


def _is_open(frame: Frame) -> bool:
    """Tell whether a structure has an odd number of electrons."""
    return has_odd_electrons(frame.atoms.numbers, stated_charge(frame.atoms))


def _check_electrons(
    frames: Sequence[Frame], charges: tuple[int, ...], *, closed_shells: bool, part: str
) -> None:
    """Raise ``DatasetError`` for a structure that the trained potential would refuse."""
    for frame in frames:
        charge = stated_charge(frame.atoms)
        if charge not in charges:
            raise DatasetError(
                f"{frame.name} of the {part} set has charge {charge:+d}, which no structure of the "
                "training set has; move one there, or leave it out"
            )
        if closed_shells and _is_open(frame):
            raise DatasetError(
                f"{frame.name} of the {part} set has an odd number of electrons, no structure of "
                "the training set has; correct its charge, move one there, or leave it out"
            )


def _load_weights(
    module: PotentialModule, config: TrainingConfig, *, echo: Callable[[str], None]
) -> None:
    """Take weights, reference energies and energy scale from the initial model."""
    path = str(config.run.initial_model)
    initial = load_checkpoint(path)
    try:
        if initial.elements != config.potential.model.elements:
            raise RuntimeError(f"it knows the elements {list(initial.elements)}")
        module.load_state_dict(initial.module.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"run.initial_model {path} has other settings than potential: {error}; copy "
            f"its settings ({initial.config}), or start from random weights"
        ) from error
    echo(f"weights, reference energies and energy scale taken from {path}")
    if initial.config != config.potential:
        echo(f"its settings were others, of which the weights know nothing: {initial.config}")


def _device(name: str) -> torch.device:
    """Return a device that is there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"run.device = {name!r} is no device; use 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"run.device = {name!r} but torch sees no GPU; use 'cpu'")
    return device
