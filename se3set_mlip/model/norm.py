"""Equivariant layer norm: features to features of unit mean square.

The published norm (the layer norm of Equiformer, arXiv 2206.11990, section 4.1) treats each irrep
by itself::

    y_l = x_l / sqrt(<|x_l|^2> + eps) * weight (+ bias on even scalars)

with the mean <> over channels and components, and even scalars losing their mean first. A site of
high symmetry has x_l = 0 for some l > 0, and the norm then magnifies the smallest displacement from
it by ``eps^-1/2``, about 300 times, in every layer: methane's energy all but jumps at its minimum.
The joint norm, ours, divides every l > 0 by one scale that a vanishing irrep does not make small::

    y_l = x_l / sqrt(mean over l' of <|x_l'|^2> + eps) * weight,    l > 0
"""

import torch
from e3nn import o3

from se3set_mlip.model.linear import check_layout


class EquivariantLayerNorm(torch.nn.Module):
    """Layer norm over the channels of each irrep, with a learned weight and scalar bias.

    Parameters
    ----------
    irreps
        Irreps of the feature, in layout form.
    joint
        Whether all irreps above scalars share one scale (else the published norm).
    eps
        Added to the mean square before the root.
    """

    def __init__(self, irreps: o3.Irreps, *, joint: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.irreps = check_layout(irreps, "irreps")
        self.joint = joint
        self.eps = eps
        self.mul: list[int] = [mul for mul, _ in irreps]
        self.is_scalar: list[bool] = [ir == o3.Irrep("0e") for _, ir in irreps]
        self.weight = torch.nn.Parameter(torch.ones(irreps.num_irreps))
        n_bias = sum(mul for mul, ir in irreps if ir == o3.Irrep("0e"))
        self.bias = torch.nn.Parameter(torch.zeros(n_bias))

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Normalise features ``[(n, 2l+1, mul)]``."""
        weights = self.weight.split(self.mul)
        if not self.joint:
            return [self._alone(k, feature, weights[k]) for k, feature in enumerate(x)]
        fields: list[torch.Tensor] = []
        squares: list[torch.Tensor] = []
        for k, feature in enumerate(x):
            field = feature
            if self.is_scalar[k]:
                field = feature - feature.mean(dim=2, keepdim=True)
            fields.append(field)
            squares.append(field.pow(2).mean(dim=(1, 2), keepdim=True))
        shared = torch.cat(squares, dim=1).mean(dim=1, keepdim=True)
        out: list[torch.Tensor] = []
        for k, field in enumerate(fields):
            square = squares[k] if self.is_scalar[k] else shared
            normed = field * ((square + self.eps).rsqrt() * weights[k])
            out.append(normed + self.bias if self.is_scalar[k] else normed)
        return out

    def _alone(self, k: int, feature: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return one irrep normalised by itself."""
        if self.is_scalar[k]:
            return torch.nn.functional.layer_norm(
                feature, [self.mul[k]], weight, self.bias, self.eps
            )
        square = feature.pow(2).mean(dim=(1, 2), keepdim=True)
        return feature * ((square + self.eps).rsqrt() * weight)
