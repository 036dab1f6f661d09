"""How much an atom belongs to a fragment: smooth weights, and their hard limit.

Every weight w is three times differentiable in all positions, 1 well inside and 0 outside:

- implicit overlap: ``w(f, v) = 1 - prod_{u in f} (1 - s(|r_u - r_v|))``, a soft OR;
- explicit overlap: a step of the summed bond order between fragment and group around ``c_w``.

With ``r_on -> r_c`` and a step of no width these become the published rules (arXiv 2405.16511).
Bond orders: Pauling ``exp(R - d)`` and Lendvay ``exp(-(d - R) R / 0.25)``, with R the sum of
covalent radii in Å.
"""

import torch


def smooth_step(x: torch.Tensor) -> torch.Tensor:
    """Return 0 for x <= 0, 1 for x >= 1 and between them ``x^4 (35 - 84 x + 70 x^2 - 20 x^3)``.

    Its first three derivatives vanish at both ends.
    """
    t = x.clamp(0.0, 1.0)
    return t.pow(4) * (35.0 + t * (-84.0 + t * (70.0 - 20.0 * t)))


def switch(distance: torch.Tensor, on: float, off: float) -> torch.Tensor:
    """Return a switch that is 1 up to ``on`` and 0 from ``off`` on; hard when they are equal.

    Parameters
    ----------
    distance
        (n,) in Å.
    on, off
        Å.
    """
    if off <= on:
        return (distance < off).to(distance.dtype)
    return smooth_step((off - distance) / (off - on))


def bond_order(
    distance: torch.Tensor,
    radii: torch.Tensor,
    lendvay: bool,  # noqa: FBT001 - TorchScript
) -> torch.Tensor:
    """Return empirical bond orders.

    Parameters
    ----------
    distance
        (n,) in Å.
    radii
        Sums of covalent radii (n,) in Å.
    lendvay
        Lendvay's form if true, else Pauling's.
    """
    if lendvay:
        return torch.exp(-(distance - radii) * radii / 0.25)
    return torch.exp(radii - distance)


def segment_absence(
    weight: torch.Tensor, segment: torch.Tensor, counts: torch.Tensor, longest: int
) -> torch.Tensor:
    """Return ``prod (1 - w)`` over each segment, (n_segments,); 1 for a segment without rows.

    Exact with exact derivatives where weights are 1: neighbours of one segment are multiplied in a
    doubling scheme, without logarithm or division.

    Parameters
    ----------
    weight
        (n,).
    segment
        (n,) int64, ascending.
    counts
        Rows of each segment, (n_segments,) int64.
    longest
        The largest count, or more.
    """
    n_rows = weight.shape[0]
    ones = torch.ones(counts.shape[0], dtype=weight.dtype, device=weight.device)
    if n_rows == 0:
        return ones
    value = 1.0 - weight
    stride = 1
    while stride < min(longest, n_rows):
        same = segment[stride:] == segment[:-stride]
        factor = torch.where(same, value[stride:], torch.ones_like(value[stride:]))
        value = torch.cat([value[:-stride] * factor, value[-stride:]])
        stride = 2 * stride
    first = (counts.cumsum(0) - counts).clamp(max=n_rows - 1)
    return torch.where(counts > 0, value.index_select(0, first), ones)
