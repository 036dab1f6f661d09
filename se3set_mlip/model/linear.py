"""Features by irrep, and the linear maps and gates that act on them.

A feature with irreps ``16x0e+8x1o+4x2e`` is a list of one tensor per irrep, each of shape
``(n, 2l+1, multiplicity)``: channels last, so that a linear map is one matrix product per irrep.
The order and normalisation of weights are those of e3nn's fully connected product with a scalar,
without path normalisation: ``y_l = x_l W_l (+ b on even scalars)``.
"""

import torch
from e3nn import o3
from e3nn.math import normalize2mom

from se3set_mlip.errors import ConfigError


def layout(irreps: o3.Irreps) -> o3.Irreps:
    """Return irreps with one entry per distinct irrep, sorted, empty ones dropped."""
    sorted_irreps = o3.Irreps(irreps).sort().irreps.simplify()
    return o3.Irreps([(mul, ir) for mul, ir in sorted_irreps if mul > 0])


def check_layout(irreps: o3.Irreps, name: str) -> o3.Irreps:
    """Return ``irreps`` if they are sorted with one entry per irrep, else raise ``ConfigError``."""
    if layout(irreps) != irreps:
        raise ConfigError(
            f"{name} = {irreps} must list each irrep once, in order; write {layout(irreps)}"
        )
    return irreps


def multiplicity(irreps: o3.Irreps, ir: o3.Irrep) -> int:
    """Return how many copies of ``ir`` the irreps hold."""
    return int(sum(mul for mul, other in irreps if other == ir))


def zero_features(irreps: o3.Irreps, like: torch.Tensor, n: int) -> list[torch.Tensor]:
    """Return a feature of zeros; shapes ``(n, 2l+1, multiplicity)``."""
    return [like.new_zeros(n, ir.dim, mul) for mul, ir in irreps]


class EquivariantLinear(torch.nn.Module):
    """Linear map between features, ``y_l = x_l W_l``, with a bias on even scalars.

    Weights are initialised from a normal distribution of standard deviation ``1/sqrt(fan_in)``.

    Parameters
    ----------
    irreps_in, irreps_out
        Irreps in layout form (:func:`layout`). Output irreps that the input lacks become zeros.
    bias
        Whether even scalars get a bias.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, bias: bool = True) -> None:
        super().__init__()
        self.irreps_in = check_layout(irreps_in, "irreps_in")
        self.irreps_out = check_layout(irreps_out, "irreps_out")
        inputs = [ir for _, ir in irreps_in]
        self.input_index: list[int] = []  # which input feeds an output, -1 for none
        self.output_dim: list[int] = [ir.dim for _, ir in irreps_out]
        self.output_mul: list[int] = [mul for mul, _ in irreps_out]
        self.bias_index: int = -1
        blocks: list[torch.Tensor] = []
        self.start: list[int] = []
        self.sizes: list[int] = []
        offset = 0
        for i_out, (mul_out, ir) in enumerate(irreps_out):
            i_in = inputs.index(ir) if ir in inputs else -1
            self.input_index.append(i_in)
            self.start.append(offset)
            mul_in = irreps_in[i_in].mul if i_in >= 0 else 0
            self.sizes.append(mul_in * mul_out)
            if i_in >= 0:
                blocks.append(torch.randn(mul_in * mul_out) / mul_in**0.5)
                offset += mul_in * mul_out
            if bias and ir == o3.Irrep("0e"):
                self.bias_index = i_out
        self.weight = torch.nn.Parameter(torch.cat(blocks) if blocks else torch.zeros(0))
        n_bias = irreps_out[self.bias_index].mul if self.bias_index >= 0 else 0
        self.bias = torch.nn.Parameter(torch.zeros(n_bias))

    def matrices(self) -> list[torch.Tensor]:
        """Return the matrix of each output irrep, (mul_in, mul_out); all must have an input."""
        out: list[torch.Tensor] = []
        for k, block in enumerate(self.weight.split(self.sizes)):
            out.append(block.view(-1, self.output_mul[k]))
        return out

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map features ``[(n, 2l+1, mul_in)]`` to ``[(n, 2l+1, mul_out)]``."""
        out = self.without_bias(x)
        if self.bias_index >= 0:
            out[self.bias_index] = out[self.bias_index] + self.bias
        return out

    def with_bias_times(self, x: list[torch.Tensor], factor: torch.Tensor) -> list[torch.Tensor]:
        """Map features as ``forward`` does, with the bias of each row times a factor (n,)."""
        out = self.without_bias(x)
        if self.bias_index >= 0:
            out[self.bias_index] = out[self.bias_index] + factor.view(-1, 1, 1) * self.bias
        return out

    def without_bias(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map features ``[(n, 2l+1, mul_in)]`` by the matrices alone."""
        out: list[torch.Tensor] = []
        blocks = self.weight.split(self.sizes)
        for k, i in enumerate(self.input_index):
            mul_out = self.output_mul[k]
            if i < 0:
                out.append(x[0].new_zeros(x[0].shape[0], self.output_dim[k], mul_out))
            else:
                out.append(torch.matmul(x[i], blocks[k].view(-1, mul_out)))
        return out


class Gate(torch.nn.Module):
    """Scalars through SiLU; higher irreps times sigmoid of one extra scalar each.

    Both activations are scaled so that a standard normal input keeps a unit second moment (e3nn's
    ``normalize2mom``).

    Parameters
    ----------
    irreps_out
        Irreps after the gate, in layout form, beginning with even scalars.
    """

    def __init__(self, irreps_out: o3.Irreps) -> None:
        super().__init__()
        scalar = o3.Irrep("0e")
        self.irreps_out = check_layout(irreps_out, "irreps_out")
        self.n_scalars = multiplicity(irreps_out, scalar)
        self.gated: list[int] = [mul for mul, ir in irreps_out if ir != scalar]
        if irreps_out[0].ir != scalar:
            raise ConfigError(f"a gated feature needs even scalars first, got {irreps_out}")
        n_gates = sum(self.gated)
        self.irreps_in = layout(
            o3.Irreps([(self.n_scalars + n_gates, scalar)])
            + o3.Irreps([(mul, ir) for mul, ir in irreps_out if ir != scalar])
        )
        self.scale_scalar = float(normalize2mom(torch.nn.functional.silu).cst)
        self.scale_gate = float(normalize2mom(torch.sigmoid).cst)

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Gate features ``[(n, 2l+1, mul)]`` with irreps ``irreps_in``."""
        scalars = x[0][:, :, : self.n_scalars]
        out = [torch.nn.functional.silu(scalars) * self.scale_scalar]
        if len(self.gated) > 0:
            gates = torch.sigmoid(x[0][:, :, self.n_scalars :]) * self.scale_gate
            start = 0
            for k, mul in enumerate(self.gated):
                out.append(x[k + 1] * gates[:, :, start : start + mul])
                start += mul
        return out
