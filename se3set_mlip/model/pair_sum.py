"""Sums over pairs of a feature times a direction, as matrix products over a few pairs at a time.

For every path ``p = (l1, l2 -> l3)`` of an input irrep l1 with a harmonic l2, and channel c::

    out_p[k, c] = sum_u sqrt(2 l3 + 1) sum_ij w3j[i, j, k]  R_p[u, c] x_l1[u, i, c] Y_l2[u, j]

The 3j symbols do not depend on the pair, so they come last, once for each sum instead of once for
each pair::

    T_p[j, i, c] = sum_u Y_l2[u, j] (R_p[u, c] x_l1[u, i, c])        a matrix product over u
    out_p[k, c]  = sqrt(2 l3 + 1) sum_ij w3j[i, j, k] T_p[j, i, c]

Pairs lie in rows of :data:`PAIRS_IN_ROW`, each row of one owner; what an owner lacks to full rows
is filled with pairs of weight 0. Nothing as large as pairs times components of the output is
written down. The paths, and the order of weights and outputs, are those of
:class:`~se3set_mlip.model.tensor_product.EdgeProduct`.
"""

from typing import NamedTuple

import torch
from e3nn import o3

from se3set_mlip.model.attention import segment_sum
from se3set_mlip.model.linear import check_layout, layout
from se3set_mlip.model.tensor_product import by_irrep, coupling, product_paths

PAIRS_IN_ROW = 8


class PairRows(NamedTuple):
    """Pairs in rows of equal length."""

    pair: torch.Tensor
    """The pair at each place, or their number at a place that is left free, (n_places,) int64."""
    owner: torch.Tensor
    """Whose pairs a row holds, (n_rows,) int64, ascending; n_places = n_rows * PAIRS_IN_ROW."""


def pair_rows(owner: torch.Tensor, n_owners: int, length: int) -> PairRows:
    """Return pairs with owners (n_pairs,), in any order, in rows of ``length``."""
    order = torch.argsort(owner, stable=True)
    owner = owner[order]
    count = torch.bincount(owner, minlength=n_owners)
    rows = torch.div(count + (length - 1), length, rounding_mode="floor")
    first_row, first_pair = rows.cumsum(0) - rows, count.cumsum(0) - count
    numbers = torch.arange(owner.shape[0], device=owner.device)
    place = first_row[owner] * length + numbers - first_pair[owner]
    row_owner = torch.repeat_interleave(rows)
    pair = torch.full(
        (row_owner.shape[0] * length,), owner.shape[0], dtype=torch.int64, device=owner.device
    )
    return PairRows(pair.index_copy(0, place, order), row_owner)


class PairSum(torch.nn.Module):
    """Sum over pairs of a feature times harmonics, with weights for each pair, path and channel.

    Parameters
    ----------
    irreps_in
        Irreps of the features, in layout form.
    irreps_sh
        Irreps of the harmonics, one copy each.
    irreps_out
        Irreps that products may produce.
    """

    table: torch.Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_sh: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        paths = product_paths(check_layout(irreps_in, "irreps_in"), irreps_sh, irreps_out)
        outputs = [(irreps_in[path.i_in].mul, path.ir_out) for path in paths]
        self.irreps_out = layout(o3.Irreps(outputs))
        self.n_weights = sum(mul for mul, _ in outputs)
        self.length = PAIRS_IN_ROW
        self.dims_sh: list[int] = [ir.dim for _, ir in irreps_sh]
        self.weight_sizes: list[int] = []  # by input and harmonic
        self.rows: list[list[int]] = []  # by input: components of each path
        self.plain: list[bool] = []  # whether the table of the input is the identity
        tables = []
        for i, (mul, ir_in) in enumerate(irreps_in):
            mine = [path for path in paths if path.i_in == i]
            self.weight_sizes += [
                mul * sum(path.i_edge == j for path in mine) for j in range(len(irreps_sh))
            ]
            self.rows.append([path.ir_out.dim for path in mine])
            blocks = []  # columns in the order of T: harmonic, its component, path, component of x
            for j, (_, ir_sh) in enumerate(irreps_sh):
                of_harmonic = [k for k, path in enumerate(mine) if path.i_edge == j]
                block = torch.zeros(
                    sum(self.rows[i]), ir_sh.dim, len(of_harmonic), ir_in.dim, dtype=torch.float64
                )
                for place, k in enumerate(of_harmonic):
                    start = sum(self.rows[i][:k])
                    c = coupling(ir_in, ir_sh, mine[k].ir_out)  # (d1, d2, d3)
                    block[start : start + self.rows[i][k], :, place] = c.permute(2, 1, 0)
                blocks.append(block.flatten(1))
            table = torch.cat(blocks, dim=1)
            unit = torch.eye(len(table), dtype=torch.float64)
            self.plain.append(table.shape == unit.shape and torch.allclose(table, unit, atol=1e-14))
            tables.append(table.flatten())
        self.table_sizes: list[int] = [table.numel() for table in tables]
        # float64 until the whole network is cast, so that a float64 network has exact tables
        self.register_buffer("table", torch.cat(tables), persistent=False)
        # Paths have no weights of their own; the name is that of a product in every checkpoint.
        self.weight = torch.nn.Parameter(torch.zeros(0))
        collected = [ir for _, ir in self.irreps_out]
        self.path_output: list[int] = [collected.index(path.ir_out) for path in paths]
        self.n_outputs = len(collected)

    def forward(
        self,
        x: list[torch.Tensor],
        harmonics: torch.Tensor,
        weights: torch.Tensor,
        rows: PairRows,
        n_owners: int,
    ) -> list[torch.Tensor]:
        """Return the sums of all owners, ``[(n_owners, 2 l3 + 1, mul * paths)]``.

        Parameters
        ----------
        x
            Features of the sources, ``[(n_places, 2 l1 + 1, mul)]``.
        harmonics
            (n_places, dim_sh); 0 at free places.
        weights
            Of each path and channel (n_places, n_weights); finite at free places.
        rows
            Who owns the rows of places.
        n_owners
            How many owners there are.
        """
        n_rows, length = rows.owner.shape[0], self.length
        by_harmonic = weights.split(self.weight_sizes, dim=1)
        directions = harmonics.view(n_rows, length, harmonics.shape[1]).transpose(1, 2)
        by_degree = directions.split(self.dims_sh, dim=1)
        tables = self.table.split(self.table_sizes)
        products: list[torch.Tensor] = []
        for i, value in enumerate(x):
            n_places, dim, mul = value.shape  # explicit sizes: -1 is ambiguous without pairs
            sums: list[torch.Tensor] = []
            for j, direction in enumerate(by_degree):
                weight = by_harmonic[i * len(by_degree) + j]
                if weight.shape[1] > 0:
                    n_paths = weight.shape[1] // mul
                    weighted = weight.view(n_places, n_paths, 1, mul) * value.unsqueeze(1)
                    piece = torch.bmm(direction, weighted.view(n_rows, length, n_paths * dim * mul))
                    sums.append(piece.view(n_rows, direction.shape[1] * n_paths * dim, mul))
            if len(sums) == 0:
                continue
            total = segment_sum(torch.cat(sums, dim=1), rows.owner, n_owners)
            if not self.plain[i]:
                total = torch.matmul(tables[i].view(-1, total.shape[1]), total)
            products += total.split(self.rows[i], dim=1)
        return by_irrep(products, self.path_output, self.n_outputs)
