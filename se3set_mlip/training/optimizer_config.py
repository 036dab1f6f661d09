"""How the weights are optimised: rates, batches, lengths, clipping, averaging."""

from dataclasses import dataclass

from se3set_mlip.training.checks import require, require_choice, require_positive

DEFAULT_BATCH_SIZE = 8
METHODS = ("soap", "adamw")


@dataclass(frozen=True)
class OptimizerConfig:
    """Rates with warm-up and cosine decay, gradient clipping, a moving average of the weights."""

    method: str = "soap"
    """``"soap"`` (matrices by SOAP, the rest by AdamW; see :mod:`.optimizers`) or ``"adamw"``."""
    learning_rate: float = 8e-3
    weight_decay: float = 0.0
    amsgrad: bool = False
    """With ``"adamw"``: divide by the largest average of squares so far."""
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
        require_choice(self.method, METHODS, "optimizer.method")
        require(
            self.method == "adamw" or not self.amsgrad,
            "optimizer.amsgrad",
            self.amsgrad,
            "false with the method soap",
        )
        require(
            (self.epochs is None) != (self.max_steps is None),
            "optimizer.epochs, optimizer.max_steps",
            (self.epochs, self.max_steps),
            "exactly one of the two",
        )
        require(
            self.batch_size is None or self.batch_pairs is None,
            "optimizer.batch_size, optimizer.batch_pairs",
            (self.batch_size, self.batch_pairs),
            "one of the two at most",
        )
        positive = ("learning_rate", "batch_size", "batch_pairs", "epochs", "max_steps")
        require_positive(self, (*positive, "gradient_clip_norm"), "optimizer")
        for name in ("weight_decay", "warmup_steps", "max_wall_time_minutes"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"optimizer.{name}", value, "zero or more")
        for name in ("final_learning_rate_fraction", "ema_decay"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, f"optimizer.{name}", value, "a number from 0 to 1")
        require(self.ema_decay < 1.0, "optimizer.ema_decay", self.ema_decay, "less than 1")

    @property
    def structures_per_batch(self) -> int | None:
        """Structures per step; None where batches are filled up to a number of pairs."""
        return None if self.batch_pairs is not None else self.batch_size or DEFAULT_BATCH_SIZE
