"""Frames aligned with the edges: rotations after which a direction points along a fixed axis.

In a frame whose polar axis is the direction r_u - r_v, the spherical harmonics have one component,
m = 0, and a product with them couples equal m alone (arXiv 2302.03655). The rotation about the
direction itself is free and cancels in everything that is rotated there and back; it is chosen so
that no derivative grows, at any direction.

Aligned features have their components in the order m = 0, -1, 1, -2, 2, ..., so that each |m| is
one slice.
"""

import torch
from e3nn import o3


def aligned_order(degree: int) -> list[int]:
    """Return where the components m = 0, -1, 1, -2, 2, ... stand in e3nn's order -l ... l."""
    order = [degree]
    for m in range(1, degree + 1):
        order += [degree - m, degree + m]
    return order


class EdgeFrames(torch.nn.Module):
    """Directions to rotation matrices of irreps.

    Parameters
    ----------
    lmax
        Highest degree.
    """

    table: torch.Tensor

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        tables: list[torch.Tensor] = []
        # D_l from D_1 and D_(l-1): the part of their product that transforms like l.
        for degree in range(2, lmax + 1):
            c = o3.wigner_3j(1, degree - 1, degree, dtype=torch.float64) * (2 * degree + 1) ** 0.5
            table = torch.einsum("ijk,abc->iajbkc", c, c)  # rows, columns
            tables.append(table.reshape(-1))
        # float64 until the whole network is cast, so that a float64 network has exact tables
        none = torch.zeros(0, dtype=torch.float64)
        self.register_buffer("table", torch.cat([none, *tables]), persistent=False)
        self.orders: list[list[int]] = [aligned_order(degree) for degree in range(lmax + 1)]

    def forward(self, vector: torch.Tensor, distance: torch.Tensor) -> list[torch.Tensor]:
        """Map vectors (n, 3) of length (n,) to matrices ``[(n, 2l+1, 2l+1)]``, l = 0, 1, ..., lmax.

        ``matrix @ feature`` has its components in aligned order; rows are aligned, columns as they
        come.
        """
        n = vector.shape[0]
        direction = vector / distance.unsqueeze(1)
        # The axis most at right angles to the direction; any would do.
        axis = torch.nn.functional.one_hot(direction.detach().abs().argmin(dim=1), 3)
        axis = axis.to(vector.dtype)
        first = torch.linalg.cross(direction, axis)
        first = first / first.pow(2).sum(dim=1, keepdim=True).sqrt()
        third = torch.linalg.cross(first, direction)
        # e3nn's order for l = 1 is x, y, z, and y is the polar axis.
        rotation = torch.stack([first, direction, third], dim=1)
        matrices = [rotation]
        start = 0
        for degree in range(2, self.lmax + 1):
            last = matrices[degree - 2]
            entries, dim = (2 * degree - 1) * (2 * degree - 1), 2 * degree + 1
            pairs = rotation.reshape(n, 9, 1) * last.reshape(n, 1, entries)
            size = 9 * entries
            table = self.table[start : start + size * dim * dim].view(size, dim * dim)
            start += size * dim * dim
            matrices.append(torch.matmul(pairs.reshape(n, size), table).view(n, dim, dim))
        out = [torch.ones(n, 1, 1, dtype=vector.dtype, device=vector.device)]
        for degree in range(1, self.lmax + 1):
            matrix = matrices[degree - 1]
            out.append(torch.stack([matrix[:, row] for row in self.orders[degree]], dim=1))
        return out
