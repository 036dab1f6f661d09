"""Products of two features with equal channels, channel by channel, along every coupling.

A table of all couplings at once is mostly zeros. It is cut into blocks that are not: a scalar only
scales the other operand; of the rest, even with even and odd with odd parity give even parity,
mixed ones give odd. Each block is one matrix product.
"""

from collections.abc import Sequence

import torch
from e3nn import o3

from se3set_mlip.model.linear import layout
from se3set_mlip.model.tensor_product import Path, coupling, product_paths

_SCALAR = o3.Irrep("0e")


class ChannelProduct(torch.nn.Module):
    """All couplings of two features with equal channels; paths become channels of the output.

    Parameters
    ----------
    irreps_in
        Irreps of both operands, each once, all with the same multiplicity.
    irreps_out
        Irreps that the product may produce; those that it cannot are left out.
    """

    table: torch.Tensor
    # annotated here because they may be empty, and TorchScript asks for their types
    scaled_first: list[int]
    scaled_second: list[int]
    dims_first: list[int]
    dims_second: list[int]
    left: list[list[int]]
    right: list[list[int]]
    rows: list[list[int]]
    table_sizes: list[int]
    collected: list[list[int]]

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        channels = irreps_in[0].mul
        kept = [ir for _, ir in irreps_out]
        paths = [p for p in product_paths(irreps_in, irreps_in, irreps_out) if p.ir_out in kept]
        irreps = [ir for _, ir in irreps_in]
        scalars = [i for i, ir in enumerate(irreps) if ir == _SCALAR]
        self.scalar = scalars[0] if scalars else -1

        pieces: list[Path] = []  # in the order in which ``forward`` makes them
        first = [p for p in paths if p.i_in == self.scalar]
        second = [p for p in paths if p.i_edge == self.scalar and p.i_in != self.scalar]
        self.scaled_second = [p.i_edge for p in first]
        self.scaled_first = [p.i_in for p in second]
        self.dims_second = [p.ir_out.dim for p in first]
        self.dims_first = [p.ir_out.dim for p in second]
        pieces += first + second

        self.left = []
        self.right = []
        self.rows = []
        tables: list[torch.Tensor] = []
        for left, right in _parities(irreps):
            mine = [p for p in paths if p.i_in in left and p.i_edge in right]
            if not mine:
                continue
            self.left.append(left)
            self.right.append(right)
            self.rows.append([p.ir_out.dim for p in mine])
            tables.append(_table(irreps, left, right, mine))
            pieces += mine
        self.table_sizes = [table.numel() for table in tables]
        flat = [table.reshape(-1) for table in tables]
        self.register_buffer("table", torch.cat(flat) if flat else torch.zeros(0), persistent=False)

        self.collected = []
        outputs: list[tuple[int, o3.Irrep]] = []
        for ir in kept:
            order = [p for p in paths if p.ir_out == ir]
            if not order:
                continue
            self.collected.append([pieces.index(p) for p in order])
            outputs.append((len(order) * channels, ir))
        self.irreps_out = layout(o3.Irreps(outputs))

    def forward(self, x: list[torch.Tensor], y: list[torch.Tensor]) -> list[torch.Tensor]:
        """Couple ``[(n, 2l+1, mul)]`` with ``[(n, 2l+1, mul)]``."""
        n, mul = x[0].shape[0], x[0].shape[2]
        pieces: list[torch.Tensor] = []
        if len(self.scaled_second) > 0:
            scaled = x[self.scalar] * torch.cat([y[i] for i in self.scaled_second], dim=1)
            pieces += scaled.split(self.dims_second, dim=1)
        if len(self.scaled_first) > 0:
            scaled = torch.cat([x[i] for i in self.scaled_first], dim=1) * y[self.scalar]
            pieces += scaled.split(self.dims_first, dim=1)
        tables = self.table.split(self.table_sizes) if len(self.table_sizes) > 0 else []
        for k, table in enumerate(tables):
            first = torch.cat([x[i] for i in self.left[k]], dim=1)
            second = torch.cat([y[i] for i in self.right[k]], dim=1)
            size = first.shape[1] * second.shape[1]
            outer = (first.unsqueeze(2) * second.unsqueeze(1)).reshape(n, size, mul)
            pieces += torch.matmul(table.view(-1, size), outer).split(self.rows[k], dim=1)
        out: list[torch.Tensor] = []
        for order in self.collected:
            out.append(torch.cat([pieces[p] for p in order], dim=2))  # noqa: PERF401 - TorchScript
        return out


def _parities(irreps: Sequence[o3.Irrep]) -> list[tuple[list[int], list[int]]]:
    """Return the pairs of groups of operands: irreps of either parity, without the even scalar."""
    groups = [[i for i, ir in enumerate(irreps) if ir.p == p and ir != _SCALAR] for p in (1, -1)]
    groups = [group for group in groups if group]
    return [(left, right) for left in groups for right in groups]


def _table(
    irreps: Sequence[o3.Irrep], left: list[int], right: list[int], paths: Sequence[Path]
) -> torch.Tensor:
    """Return the couplings of two groups, (rows, (2l+1) of the one times (2l+1) of the other)."""
    first = {i: sum(irreps[j].dim for j in left if j < i) for i in left}
    second = {i: sum(irreps[j].dim for j in right if j < i) for i in right}
    n_first, n_second = (sum(irreps[i].dim for i in group) for group in (left, right))
    table = torch.zeros(sum(p.ir_out.dim for p in paths), n_first, n_second, dtype=torch.float64)
    row = 0
    for p in paths:
        ir_in, ir_edge = irreps[p.i_in], irreps[p.i_edge]
        a, b = first[p.i_in], second[p.i_edge]
        block = coupling(ir_in, ir_edge, p.ir_out).permute(2, 0, 1)
        table[row : row + p.ir_out.dim, a : a + ir_in.dim, b : b + ir_edge.dim] = block
        row += p.ir_out.dim
    return table.reshape(len(table), n_first * n_second)
