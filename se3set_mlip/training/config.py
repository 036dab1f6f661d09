"""Settings of a training run: frozen dataclasses that refuse values that cannot be right.

Units are in the names where they are not eV and Å.
"""

import difflib
from dataclasses import dataclass, field

from se3set_mlip.errors import ConfigError
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.training.labels import LabelConfig

DEFAULT_VALIDATION_FRACTION = 0.1
DEFAULT_BATCH_SIZE = 8
LOSS_KINDS = ("mse", "huber", "l2norm")
DTYPES = ("float32", "float64")


def _require(
    condition: bool,  # noqa: FBT001 - it reads as the subject of the sentence
    name: str,
    value: object,
    expected: str,
) -> None:
    """Raise a ConfigError that names the setting, its value and what was expected."""
    if not condition:
        raise ConfigError(f"{name} = {value!r}; expected {expected}; correct the value")


def _require_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Raise a ConfigError with the nearest choice when ``value`` is none of ``choices``."""
    if value not in choices:
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"{name} = {value!r}; expected one of {', '.join(choices)}; did you mean {nearest!r}?"
        )


@dataclass(frozen=True)
class DataConfig:
    """Which structures to train, validate and test on, and their reference energies.

    Without ``validation_files`` a part of the training files is held out: ``n_validation``
    structures, or ``validation_fraction`` of them (a tenth by default), drawn with ``split_seed``.
    """

    train_files: tuple[str, ...]
    """Extended-XYZ files (or others that ASE reads) with labelled structures."""
    auxiliary_files: tuple[str, ...] = ()
    """More structures to train on, none of them held out: bare pairs of atoms, strained bonds."""
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    """Evaluated once, at the end."""
    validation_fraction: float | None = None
    n_validation: int | None = None
    n_train: int | None = None
    """Train on this many structures only (for learning curves); all by default."""
    split_seed: int = 0
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Names and units of the labels."""
    missing_labels: str = "error"
    """``"error"``, or ``"mask"``: what a structure lacks does not enter the loss."""
    skip_unperceived: bool = False
    """Leave out structures whose bonds cannot be perceived; otherwise they are an error."""
    reference_energies: str | dict[str, float] = "fit"
    """Energy of each element: symbol -> eV; ``"fit"`` (least squares of the compositions);
    ``"isolated_atoms"`` (single-atom structures in the training files); or a path to a file of
    isolated atoms."""
    bond_stretch: float = 1.6
    """Train on a structure with the fragments of every topology of its dataset whose bonds are all
    shorter than this multiple of the sums of covalent radii; see :mod:`.fragmenting`. 0: with its
    own fragments only; about 2.8 where protons move in dynamics, so that either topology gives the
    same energy."""
    shift_to_mean: bool = True
    """Add the mean residual energy per atom of the training set to every reference energy. The
    network then learns only differences between structures, which is best for bound molecules; the
    energy of atoms far apart is no longer the sum of the isolated atoms."""
    energy_scale_ev: float | None = None
    """Unit of the network's energies; by default the RMS force of the training set times 1 Å."""
    check_units: bool = True
    """Refuse energies and forces that are implausible in the stated units."""

    def __post_init__(self) -> None:
        """Validate the values."""
        _require(len(self.train_files) > 0, "data.train_files", self.train_files, "a file or more")
        fraction = self.validation_fraction
        _require(
            fraction is None or 0.0 < fraction < 1.0,
            "data.validation_fraction",
            fraction,
            "a number between 0 and 1",
        )
        given = (bool(self.validation_files), fraction is not None, self.n_validation is not None)
        _require(
            sum(given) <= 1,
            "data.validation_files, data.validation_fraction, data.n_validation",
            (self.validation_files, fraction, self.n_validation),
            "one of the three at most",
        )
        for name in ("n_validation", "n_train"):
            value = getattr(self, name)
            _require(value is None or value > 0, f"data.{name}", value, "a positive number")
        _require(self.bond_stretch >= 0.0, "data.bond_stretch", self.bond_stretch, "zero or more")
        _require_choice(self.missing_labels, ("error", "mask"), "data.missing_labels")
        _require(
            self.energy_scale_ev is None or self.energy_scale_ev > 0.0,
            "data.energy_scale_ev",
            self.energy_scale_ev,
            "a positive energy",
        )


@dataclass(frozen=True)
class StageTwoConfig:
    """Weights for the last part of a run, which usually stress the energy."""

    start_fraction: float = 0.75
    """Fraction of all steps after which these weights hold."""
    energy_weight: float = 1000.0
    forces_weight: float = 100.0
    stress_weight: float = 0.0

    def __post_init__(self) -> None:
        """Validate the values."""
        _require(
            0.0 < self.start_fraction < 1.0,
            "loss.stage_two.start_fraction",
            self.start_fraction,
            "a number between 0 and 1",
        )


@dataclass(frozen=True)
class LossConfig:
    """Weights of the errors of energy per atom (eV), forces (eV/Å) and stress (eV/Å³)."""

    kind: str = "mse"
    """``"mse"``, ``"huber"``, or ``"l2norm"`` (norm of the error of each atom's force)."""
    energy_weight: float = 1.0
    forces_weight: float = 100.0
    stress_weight: float = 0.0
    huber_delta: float = 0.01
    """Where the Huber loss turns from quadratic to linear, in eV, eV/Å and eV/Å³."""
    stage_two: StageTwoConfig | None = None

    def __post_init__(self) -> None:
        """Validate the values."""
        _require_choice(self.kind, LOSS_KINDS, "loss.kind")
        weights = (self.energy_weight, self.forces_weight, self.stress_weight)
        for name, value in zip(("energy", "forces", "stress"), weights, strict=True):
            _require(value >= 0.0, f"loss.{name}_weight", value, "zero or more")
        _require(sum(weights) > 0.0, "sum of the loss weights", sum(weights), "more than zero")
        _require(self.huber_delta > 0.0, "loss.huber_delta", self.huber_delta, "a positive number")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up, cosine decay, gradient clipping and a moving average of the weights."""

    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    amsgrad: bool = True
    batch_size: int | None = None
    """Structures per step, 8 by default."""
    batch_pairs: int | None = None
    """Instead: fill each batch with structures up to this many pairs of the hypergraph (counted
    once, at the given geometries), so that steps on small and on large molecules cost the same. A
    structure with more pairs is a batch alone."""
    epochs: int | None = None
    """Passes through the training set; give this or ``max_steps``."""
    max_steps: int | None = None
    max_wall_time_minutes: float | None = None
    """Stop, with the state saved, after this time (all parts of a resumed run together)."""
    warmup_steps: int = 100
    final_learning_rate_fraction: float = 0.01
    gradient_clip_norm: float | None = 10.0
    ema_decay: float = 0.999
    """Decay per step of the moving average of the weights; 0 switches it off."""

    def __post_init__(self) -> None:
        """Validate the values."""
        _require(
            (self.epochs is None) != (self.max_steps is None),
            "optimizer.epochs, optimizer.max_steps",
            (self.epochs, self.max_steps),
            "exactly one of the two",
        )
        _require(
            self.batch_size is None or self.batch_pairs is None,
            "optimizer.batch_size, optimizer.batch_pairs",
            (self.batch_size, self.batch_pairs),
            "one of the two at most",
        )
        for name in (
            "learning_rate",
            "batch_size",
            "batch_pairs",
            "epochs",
            "max_steps",
            "gradient_clip_norm",
        ):
            value = getattr(self, name)
            _require(value is None or value > 0, f"optimizer.{name}", value, "a positive number")
        for name in ("weight_decay", "warmup_steps", "max_wall_time_minutes"):
            value = getattr(self, name)
            _require(value is None or value >= 0, f"optimizer.{name}", value, "zero or more")
        for name in ("final_learning_rate_fraction", "ema_decay"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"optimizer.{name}", value, "a number from 0 to 1")
        _require(self.ema_decay < 1.0, "optimizer.ema_decay", self.ema_decay, "less than 1")

    @property
    def structures_per_batch(self) -> int | None:
        """Structures per step; None where batches are filled up to a number of pairs."""
        return None if self.batch_pairs is not None else self.batch_size or DEFAULT_BATCH_SIZE


@dataclass(frozen=True)
class RunConfig:
    """Where the results go and how the run behaves."""

    output_dir: str
    initial_model: str | None = None
    """A checkpoint (.safetensors) whose weights, reference energies and energy scale to start from;
    its potential must have the same settings. Random weights by default."""
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    """Threads of torch during the run; unchanged by default."""
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int | None = None
    """Save the state within an epoch too."""
    validate_every_epochs: int = 1
    evaluation_batch_size: int = 32
    progress: bool = True
    """Show a progress bar."""
    plots: bool = True
    """Draw learning curve and parity plots at the end; needs matplotlib."""

    def __post_init__(self) -> None:
        """Validate the values."""
        _require(self.output_dir != "", "run.output_dir", self.output_dir, "a folder")
        _require_choice(self.dtype, DTYPES, "run.dtype")
        for name in (
            "threads",
            "checkpoint_every_epochs",
            "checkpoint_every_steps",
            "validate_every_epochs",
            "evaluation_batch_size",
        ):
            value = getattr(self, name)
            _require(value is None or value > 0, f"run.{name}", value, "a positive number")


@dataclass(frozen=True)
class ModelCardConfig:
    """What travels with the trained model, beside its measured errors."""

    level_of_theory: str = "unknown"
    training_data: str = ""
    license: str = ""
    description: str = ""
    authors: str = ""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that one training run needs."""

    data: DataConfig
    potential: PotentialConfig
    optimizer: OptimizerConfig
    run: RunConfig
    loss: LossConfig = field(default_factory=LossConfig)
    model_card: ModelCardConfig = field(default_factory=ModelCardConfig)
