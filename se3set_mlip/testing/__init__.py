"""Checks that tell whether a potential is fit for dynamics, on the user's own structure."""

from se3set_mlip.testing.legacy import *  # noqa: F403
from se3set_mlip.testing.legacy import _signature  # noqa: F401
