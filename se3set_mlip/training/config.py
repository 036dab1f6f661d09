"""Settings of a training run: frozen dataclasses that refuse values that cannot be right.

Units are in the names where they are not eV and Å.
"""

from dataclasses import dataclass, field

from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.training.checks import require, require_choice, require_positive
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.optimizer_config import OptimizerConfig

DEFAULT_VALIDATION_FRACTION = 0.1
LOSS_KINDS = ("mse", "huber", "l2norm")
DTYPES = ("float32", "float64")


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
        require(len(self.train_files) > 0, "data.train_files", self.train_files, "a file or more")
        fraction = self.validation_fraction
        require(
            fraction is None or 0.0 < fraction < 1.0,
            "data.validation_fraction",
            fraction,
            "a number between 0 and 1",
        )
        given = (bool(self.validation_files), fraction is not None, self.n_validation is not None)
        require(
            sum(given) <= 1,
            "data.validation_files, data.validation_fraction, data.n_validation",
            (self.validation_files, fraction, self.n_validation),
            "one of the three at most",
        )
        require_positive(self, ("n_validation", "n_train"), "data")
        require(self.bond_stretch >= 0.0, "data.bond_stretch", self.bond_stretch, "zero or more")
        require_choice(self.missing_labels, ("error", "mask"), "data.missing_labels")
        require(
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
    net_forces_weight: float = 0.0

    def __post_init__(self) -> None:
        """Validate the values."""
        require(
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
    net_forces_weight: float = 0.0
    """Of the error of the net force on each molecule (eV/Å), in structures of several: what
    molecules do to each other, apart from the larger forces within them. The general organic
    potential was trained with half of ``forces_weight``."""
    huber_delta: float = 0.01
    """Where the Huber loss turns from quadratic to linear, in eV, eV/Å and eV/Å³."""
    stage_two: StageTwoConfig | None = None

    def __post_init__(self) -> None:
        """Validate the values."""
        require_choice(self.kind, LOSS_KINDS, "loss.kind")
        weights = (
            self.energy_weight,
            self.forces_weight,
            self.stress_weight,
            self.net_forces_weight,
        )
        names = ("energy", "forces", "stress", "net_forces")
        for name, value in zip(names, weights, strict=True):
            require(value >= 0.0, f"loss.{name}_weight", value, "zero or more")
        require(sum(weights) > 0.0, "sum of the loss weights", sum(weights), "more than zero")
        require(self.huber_delta > 0.0, "loss.huber_delta", self.huber_delta, "a positive number")


@dataclass(frozen=True)
class RunConfig:
    """Where the results go and how the run behaves."""

    output_dir: str
    initial_model: str | None = None
    """A checkpoint (.safetensors) whose weights, reference energies and energy scale to start from;
    its potential must have the same settings. Random weights by default."""
    initial_energies: bool = True
    """With ``initial_model``: take its reference energies, for labels of the same level of theory.
    False: those of ``data.reference_energies``, for labels of another."""
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
    reported_training_structures: int | None = 2000
    """The report at the end says how large errors are on so many structures of the training set,
    drawn at random, or on all of them."""
    progress: bool = True
    """Show a progress bar."""
    plots: bool = True
    """Draw learning curve and parity plots at the end; needs matplotlib."""

    def __post_init__(self) -> None:
        """Validate the values."""
        require(self.output_dir != "", "run.output_dir", self.output_dir, "a folder")
        require_choice(self.dtype, DTYPES, "run.dtype")
        every = ("checkpoint_every_epochs", "checkpoint_every_steps", "validate_every_epochs")
        sizes = ("evaluation_batch_size", "reported_training_structures")
        require_positive(self, ("threads", *every, *sizes), "run")


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
