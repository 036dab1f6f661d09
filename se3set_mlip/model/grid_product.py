"""Products of equivariant features as products of functions on the unit sphere.

A feature of natural parity (0e, 1o, 2e, ...) is the coefficients of a function on the sphere, and
products of functions are products of their values: features go to the points of a grid, are
multiplied there, channel by channel, and come back as coefficients. The grid integrates every
polynomial that occurs exactly, so only degrees that are not asked for are lost. This is the Gaunt
tensor product (arXiv 2401.10216): all couplings of natural parity with fixed relative weights, for
a small part of the work; the linear maps before and after it have weights to learn.
"""

import math

import numpy as np
import torch
from e3nn import o3

from se3set_mlip.errors import ConfigError
from se3set_mlip.model.linear import layout


def sphere_grid(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (n, 3) and weights (n,), of sum 1, exact for polynomials up to ``degree``.

    Gauss-Legendre nodes along one axis, even angles around it.
    """
    heights, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    n_angles = degree + 1
    angles = 2.0 * math.pi * np.arange(n_angles) / n_angles
    radius = np.sqrt(1.0 - heights**2)
    points = np.stack(
        [
            radius[:, None] * np.sin(angles),
            np.broadcast_to(heights[:, None], (len(heights), n_angles)),
            radius[:, None] * np.cos(angles),
        ],
        axis=2,
    )
    even = np.repeat(weights / (2.0 * n_angles), n_angles)
    return torch.as_tensor(points.reshape(-1, 3)), torch.as_tensor(even)


class GridProduct(torch.nn.Module):
    """Product of two features on a grid, channel by channel; one path for each output irrep.

    Parameters
    ----------
    irreps_in
        Irreps of both operands, of natural parity, each once, all with the same multiplicity.
    irreps_out
        Irreps that the product may produce; those of a degree that it cannot reach are left out.

    Raises
    ------
    ConfigError
        For irreps of the other parity.
    """

    to_grid: torch.Tensor
    from_grid: torch.Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        channels = irreps_in[0].mul
        kept = o3.Irreps([(channels, ir) for _, ir in irreps_out if ir.l <= 2 * irreps_in.lmax])
        for _, ir in [*irreps_in, *kept]:
            if ir.p != (-1) ** ir.l:
                raise ConfigError(
                    f"irrep {ir} is no function on the sphere, expected 0e, 1o, 2e, 3o, ...; "
                    "correct the irreps, or choose density_product = 'paths'"
                )
        degrees = [ir.l for _, ir in irreps_in]
        points, weights = sphere_grid(2 * irreps_in.lmax + kept.lmax)
        values = {
            ir.l: o3.spherical_harmonics(ir.l, points, normalize=True, normalization="component")
            for _, ir in [*irreps_in, *kept]
        }
        to_grid = torch.cat([values[degree] for degree in degrees], dim=1)
        to_grid = to_grid / to_grid.shape[1] ** 0.5  # values of unit variance
        back = []
        for _, ir in kept:
            rows = (values[ir.l] * weights.unsqueeze(1)).t()  # (2l+1, n_points)
            table = torch.einsum("cg,ga,gb->cab", rows, to_grid, to_grid)
            back.append(rows / table.pow(2).sum(dim=(1, 2)).mean().sqrt())
        self.irreps_out = layout(kept)
        self.dims: list[int] = [ir.dim for _, ir in kept]
        self.register_buffer("to_grid", to_grid, persistent=False)
        self.register_buffer("from_grid", torch.cat(back), persistent=False)

    def forward(self, x: list[torch.Tensor], y: list[torch.Tensor]) -> list[torch.Tensor]:
        """Multiply ``[(n, 2l+1, mul)]`` with ``[(n, 2l+1, mul)]``."""
        first = torch.matmul(self.to_grid, torch.cat(x, dim=1))  # (n, n_points, mul)
        second = torch.matmul(self.to_grid, torch.cat(y, dim=1))
        product = torch.matmul(self.from_grid, first * second)
        return list(product.split(self.dims, dim=1))
