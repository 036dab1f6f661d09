"""Radial basis functions of a distance, and the network that turns them into weights.

Two bases of the published network, and a third:

- *exponential-normal* (arXiv 1902.08408): ``c(d) exp(-beta_k (exp(-alpha d) - mu_k)^2)`` with
  ``alpha = 5 / range`` and an envelope c that vanishes at the range;
- *gaussian* (the learned Gaussians of Graphormer-3D, arXiv 2203.04810, as used by Equiformer):
  normal densities of ``a d / range + b`` with learned means and widths; it has no envelope;
- *bessel* (arXiv 2003.03123): fixed waves that vanish at the range, without a further envelope.

The published envelope is the cosine ``(1 + cos(pi d / range)) / 2``, whose second derivative jumps
at the range; ``(1 - (d / range)^2)^4`` is three times differentiable. Memberships already end every
interaction, so the default is no envelope: the functions then level off at long distances by
themselves. Distances are in Å.
"""

import math

import torch

from se3set_mlip.errors import ConfigError

RADIAL_BASES = ("exponential_normal", "gaussian", "bessel")


def polynomial_envelope(x: torch.Tensor) -> torch.Tensor:
    """Return an envelope that is 1 at x = 0, 0 from x = 1 on, and three times differentiable.

    ``c(x) = (1 - x^2)^4`` for x < 1: its first three derivatives vanish at 1.
    """
    return (1.0 - x * x).clamp(min=0.0).pow(4)


def flat_envelope(x: torch.Tensor) -> torch.Tensor:
    """Return an envelope that stays near 1 longer, is 0 from x = 1 on, three times differentiable.

    ``c(x) = (1 - x^4)^4`` for x < 1; 0.77 in the middle.
    """
    return (1.0 - x.pow(4)).clamp(min=0.0).pow(4)


def cosine_envelope(x: torch.Tensor) -> torch.Tensor:
    """Return ``(1 + cos(pi x)) / 2`` for x < 1, else 0; once differentiable."""
    return 0.5 * (torch.cos(math.pi * x) + 1.0) * (x < 1.0).to(x.dtype)


class ExponentialNormalBasis(torch.nn.Module):
    """Exponential-normal radial basis with an envelope.

    Parameters
    ----------
    n_basis
        How many functions.
    range_angstrom
        Length scale, and the distance at which an envelope vanishes.
    envelope
        ``"none"``, ``"polynomial"`` or ``"cosine"`` (published).
    """

    def __init__(self, n_basis: int, range_angstrom: float, *, envelope: str) -> None:
        super().__init__()
        self.range_angstrom = range_angstrom
        self.alpha = 5.0 / range_angstrom
        self.envelope = envelope
        first = math.exp(-range_angstrom * self.alpha)
        self.means = torch.nn.Parameter(torch.linspace(first, 1.0, n_basis))
        width = (2.0 / n_basis * (1.0 - first)) ** -2
        self.betas = torch.nn.Parameter(torch.full((n_basis,), width))

    def forward(self, distance: torch.Tensor) -> torch.Tensor:
        """Map distances (n,) in Å to basis values (n, n_basis)."""
        position = torch.exp(-self.alpha * distance).unsqueeze(1) - self.means
        values = torch.exp(-self.betas * position.pow(2))
        x = distance / self.range_angstrom
        if self.envelope == "cosine":
            values = values * cosine_envelope(x).unsqueeze(1)
        elif self.envelope == "polynomial":
            values = values * polynomial_envelope(x).unsqueeze(1)
        return values


class GaussianBasis(torch.nn.Module):
    """Normal densities of the scaled distance with learned means and widths.

    Parameters
    ----------
    n_basis
        How many functions.
    range_angstrom
        Length that scales the distance.
    """

    def __init__(self, n_basis: int, range_angstrom: float) -> None:
        super().__init__()
        self.range_angstrom = range_angstrom
        self.means = torch.nn.Parameter(torch.rand(n_basis))
        self.widths = torch.nn.Parameter(
            torch.rand(n_basis) * (1.0 - 1.0 / n_basis) + 1.0 / n_basis
        )
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.shift = torch.nn.Parameter(torch.zeros(1))

    def forward(self, distance: torch.Tensor) -> torch.Tensor:
        """Map distances (n,) in Å to basis values (n, n_basis)."""
        x = (self.scale * distance / self.range_angstrom + self.shift).unsqueeze(1)
        width = self.widths.abs() + 1e-5
        return torch.exp(-0.5 * ((x - self.means) / width).pow(2)) / (
            math.sqrt(2 * math.pi) * width
        )


class BesselBasis(torch.nn.Module):
    """Spherical Bessel functions of order zero, ``sqrt(2 / range) sin(k pi d / range) / d``.

    Their finest wave length is the same at all distances, twice the range over ``n_basis``, so that
    what was learned goes on smoothly to distances a little shorter than those of the training set.

    Parameters
    ----------
    n_basis
        How many functions.
    range_angstrom
        Where they vanish.
    """

    orders: torch.Tensor

    def __init__(self, n_basis: int, range_angstrom: float) -> None:
        super().__init__()
        self.range_angstrom = range_angstrom
        self.scale = math.sqrt(2.0 / range_angstrom) * math.pi / range_angstrom
        orders = torch.arange(1, n_basis + 1, dtype=torch.get_default_dtype())
        self.register_buffer("orders", orders, persistent=False)

    def forward(self, distance: torch.Tensor) -> torch.Tensor:
        """Map distances (n,) in Å to basis values (n, n_basis)."""
        x = (distance / self.range_angstrom).unsqueeze(1)
        return self.scale * self.orders * torch.sinc(self.orders * x)


class RadialNetwork(torch.nn.Module):
    """Multilayer perceptron from basis values to weights of tensor-product paths.

    Linear, layer norm, SiLU for each hidden width; then a linear map without bias plus a learned
    offset that does not depend on the distance.

    Parameters
    ----------
    n_basis
        Width of the input.
    hidden
        Hidden widths.
    n_weights
        Width of the output.
    """

    def __init__(self, n_basis: int, hidden: tuple[int, ...], n_weights: int) -> None:
        super().__init__()
        if not hidden:
            raise ConfigError("radial_hidden is empty; give at least one hidden width, e.g. [16]")
        layers: list[torch.nn.Module] = []
        width = n_basis
        for next_width in hidden:
            layers += [
                torch.nn.Linear(width, next_width),
                torch.nn.LayerNorm(next_width),
                torch.nn.SiLU(),
            ]
            width = next_width
        layers.append(torch.nn.Linear(width, n_weights, bias=False))
        self.net = torch.nn.Sequential(*layers)
        self.last = len(layers) - 1
        bound = 1.0 / width**0.5
        self.offset = torch.nn.Parameter(torch.empty(n_weights).uniform_(-bound, bound))

    def forward(self, basis: torch.Tensor, n_first: int = -1) -> torch.Tensor:
        """Map basis values (n, n_basis) to weights (n, n_weights), or to the first few of them."""
        hidden = basis
        for k, layer in enumerate(self.net):
            if k < self.last:
                hidden = layer(hidden)
        n_weights = self.offset.shape[0] if n_first < 0 else n_first
        matrix: torch.Tensor = self.net[-1].weight[:n_weights]  # type: ignore[index]
        return torch.addmm(self.offset[:n_weights], hidden, matrix.t())


def make_radial_basis(
    kind: str, n_basis: int, range_angstrom: float, *, envelope: str
) -> torch.nn.Module:
    """Return the radial basis named ``kind``, one of :data:`RADIAL_BASES`."""
    if kind == "exponential_normal":
        return ExponentialNormalBasis(n_basis, range_angstrom, envelope=envelope)
    if kind == "bessel":
        return BesselBasis(n_basis, range_angstrom)
    return GaussianBasis(n_basis, range_angstrom)
