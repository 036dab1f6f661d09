"""Training and evaluation: labelled structures become a potential, and errors.

>>> from se3set_mlip.training import read_training_config, train
>>> result = train(read_training_config("config.yaml"))  # doctest: +SKIP
"""

from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.config_file import read_training_config, training_config_from_dict
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.loop import TrainingResult, train
from se3set_mlip.training.report import evaluate_file

__all__ = [
    "LabelConfig",
    "TrainingConfig",
    "TrainingResult",
    "evaluate_file",
    "read_training_config",
    "train",
    "training_config_from_dict",
]
