"""Equivariant layer norm: features to features of unit mean square, per irrep.

Source: the layer norm of Equiformer (arXiv 2206.11990, section 4.1), component normalised::

    y_l = x_l / sqrt(mean over channels and components of |x_l|^2 + eps) * weight (+ bias)

where even scalars lose their mean first. ``eps`` keeps it smooth where a feature vanishes.
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
    eps
        Added to the mean square before the root.
    """

    def __init__(self, irreps: o3.Irreps, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.irreps = check_layout(irreps, "irreps")
        self.eps = eps
        self.mul: list[int] = [mul for mul, _ in irreps]
        self.is_scalar: list[bool] = [ir == o3.Irrep("0e") for _, ir in irreps]
        self.weight = torch.nn.Parameter(torch.ones(irreps.num_irreps))
        n_bias = sum(mul for mul, ir in irreps if ir == o3.Irrep("0e"))
        self.bias = torch.nn.Parameter(torch.zeros(n_bias))

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Normalise features ``[(n, 2l+1, mul)]``."""
        out: list[torch.Tensor] = []
        start = 0
        for k, mul in enumerate(self.mul):
            field = x[k]
            if self.is_scalar[k]:
                field = field - field.mean(dim=2, keepdim=True)
            mean_square = field.pow(2).mean(dim=(1, 2), keepdim=True)
            scale = (mean_square + self.eps).rsqrt() * self.weight[start : start + mul]
            field = field * scale
            if self.is_scalar[k]:
                field = field + self.bias
            out.append(field)
            start += mul
        return out
