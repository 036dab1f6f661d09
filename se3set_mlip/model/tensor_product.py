"""Depthwise tensor products: channel by channel, with an edge direction or with another feature.

Both compute, for every allowed path ``p = (l1, l2 -> l3)`` and channel c::

    out_p[k, c] = sqrt(2 l3 + 1) * sum_ij  w3j[i, j, k]  x_l1[i, c] * y_p[j, c]

- :class:`EdgeProduct`: ``y_p[j, c] = radial_weight_p[c] Y_l2[j]``, the same Y for all channels. The
  coupling of Y with the 3j symbols, a small matrix per pair, is made once by :class:`EdgeCoupling`
  and shared by all layers; what remains per layer is one batched matrix product per l1.
- :class:`FeatureProduct`: ``y_p[j, c] = sum_d weight_p[c, d] h_l2[j, d]`` with learned weights.

Paths are numbered (l1 outer, l2, l3 inner); outputs are collected per l3 in path order. This is the
depthwise product of Equiformer (arXiv 2206.11990), and weights are laid out as there.
"""

from typing import NamedTuple

import torch
from e3nn import o3

from se3set_mlip.errors import ConfigError
from se3set_mlip.model.linear import check_layout, layout


class Path(NamedTuple):
    """One allowed coupling of an input irrep with an edge irrep."""

    i_in: int
    i_edge: int
    ir_out: o3.Irrep


def product_paths(
    irreps_in: o3.Irreps, irreps_edge: o3.Irreps, irreps_out: o3.Irreps
) -> list[Path]:
    """List the paths whose result is among ``irreps_out`` (or is an even scalar)."""
    wanted = {ir for _, ir in irreps_out} | {o3.Irrep("0e")}
    return [
        Path(i, j, ir)
        for i, (_, ir_in) in enumerate(irreps_in)
        for j, (_, ir_edge) in enumerate(irreps_edge)
        for ir in ir_in * ir_edge
        if ir in wanted
    ]


def coupling(ir_in: o3.Irrep, ir_edge: o3.Irrep, ir_out: o3.Irrep) -> torch.Tensor:
    """Return ``sqrt(2 l3 + 1) w3j``, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64."""
    w3j = o3.wigner_3j(ir_in.l, ir_edge.l, ir_out.l, dtype=torch.float64)
    return w3j * float(ir_out.dim) ** 0.5


def by_irrep(
    products: list[torch.Tensor], path_output: list[int], n_outputs: int
) -> list[torch.Tensor]:
    """Collect the products (n, 2 l3 + 1, mul) of paths by irrep, paths side by side in order.

    Parameters
    ----------
    products
        Of each path.
    path_output
        Which of the output irreps each path has.
    n_outputs
        How many output irreps there are.
    """
    collected: list[list[torch.Tensor]] = []
    for _ in range(n_outputs):
        empty: list[torch.Tensor] = []
        collected.append(empty)
    for p, o in enumerate(path_output):
        collected[o].append(products[p])
    return [torch.cat(parts, dim=2) for parts in collected]


class EdgeCoupling(torch.nn.Module):
    """Spherical harmonics to coupling matrices, one per input irrep, shared by all layers.

    Parameters
    ----------
    irreps_in
        Irreps of the features that the edge couples to.
    irreps_sh
        Irreps of the spherical harmonics, one copy each.
    irreps_out
        Irreps that products may produce.
    """

    table: torch.Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_sh: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        if any(mul != 1 for mul, _ in irreps_sh):
            raise ConfigError(f"irreps_sh = {irreps_sh} must hold each harmonic once")
        self.irreps_in = check_layout(irreps_in, "irreps_in")
        self.irreps_sh = irreps_sh
        self.paths = product_paths(irreps_in, irreps_sh, irreps_out)
        self.dims_in: list[int] = [ir.dim for _, ir in irreps_in]
        blocks = []
        self.rows: list[int] = []  # output components that an input irrep feeds
        slices = irreps_sh.slices()
        for i, (_, ir_in) in enumerate(irreps_in):
            mine = [path for path in self.paths if path.i_in == i]
            rows = sum(path.ir_out.dim for path in mine)
            block = torch.zeros(irreps_sh.dim, rows, ir_in.dim, dtype=torch.float64)
            row = 0
            for path in mine:
                c = coupling(ir_in, irreps_sh[path.i_edge].ir, path.ir_out)  # (d1, d2, d3)
                block[slices[path.i_edge], row : row + path.ir_out.dim] = c.permute(1, 2, 0)
                row += path.ir_out.dim
            self.rows.append(rows)
            blocks.append(block.reshape(irreps_sh.dim, -1))
        self.widths: list[int] = [block.shape[1] for block in blocks]
        # float64 until the whole network is cast, so that a float64 network has exact tables
        self.register_buffer("table", torch.cat(blocks, dim=1), persistent=False)

    def forward(self, harmonics: torch.Tensor) -> list[torch.Tensor]:
        """Map harmonics (n, dim_sh) to matrices ``[(n, rows_l1, 2 l1 + 1)]``."""
        out: list[torch.Tensor] = []
        for i, block in enumerate(torch.matmul(harmonics, self.table).split(self.widths, dim=1)):
            out.append(block.reshape(block.shape[0], self.rows[i], self.dims_in[i]))
        return out


class EdgeProduct(torch.nn.Module):
    """Depthwise product of features with an edge direction, given its coupling matrices.

    Parameters
    ----------
    edge_coupling
        The module that makes the coupling matrices; gives irreps and paths.
    internal_weights
        Whether each path and channel has a learned weight (else weights come per pair).
    """

    def __init__(self, edge_coupling: EdgeCoupling, *, internal_weights: bool) -> None:
        super().__init__()
        irreps_in, paths = edge_coupling.irreps_in, edge_coupling.paths
        outputs = [(irreps_in[path.i_in].mul, path.ir_out) for path in paths]
        self.irreps_out = layout(o3.Irreps(outputs))
        collected = [ir for _, ir in self.irreps_out]
        self.rows: list[list[int]] = [  # by input: output components of each path
            [path.ir_out.dim for path in paths if path.i_in == i] for i in range(len(irreps_in))
        ]
        self.path_output: list[int] = [collected.index(path.ir_out) for path in paths]
        self.path_mul: list[int] = [mul for mul, _ in outputs]
        self.n_outputs = len(collected)
        self.n_weights = sum(self.path_mul)
        self.internal_weights = internal_weights
        n_internal = self.n_weights if internal_weights else 0
        self.weight = torch.nn.Parameter(torch.randn(n_internal))

    def forward(
        self, x: list[torch.Tensor], matrices: list[torch.Tensor], weights: torch.Tensor
    ) -> list[torch.Tensor]:
        """Couple features with edges.

        Parameters
        ----------
        x
            Features ``[(n, 2 l1 + 1, mul)]``.
        matrices
            Coupling matrices ``[(n, rows_l1, 2 l1 + 1)]``.
        weights
            Weights per pair, path and channel (n, n_weights); ignored with internal weights.
        """
        if self.internal_weights:
            weights = self.weight.unsqueeze(0)
        # Splitting costs one small operation in the derivative, slicing one of full size each.
        by_path = weights.unsqueeze(1).split(self.path_mul, dim=2)
        products: list[torch.Tensor] = []
        for i, matrix in enumerate(matrices):
            if len(self.rows[i]) > 0:
                products += torch.bmm(matrix, x[i]).split(self.rows[i], dim=1)
        weighted = [product * by_path[p] for p, product in enumerate(products)]
        return by_irrep(weighted, self.path_output, self.n_outputs)


class FeatureProduct(torch.nn.Module):
    """Depthwise product of features with the feature of an incidence, with learned weights.

    Weights mix the channels of the second operand into each channel of the first. They start from
    a normal distribution of standard deviation ``1/sqrt(channels of the second operand)``.

    Parameters
    ----------
    irreps_in, irreps_edge
        Irreps of the two operands, in layout form.
    irreps_out
        Irreps that products may produce.
    """

    table: torch.Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_edge: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_in = check_layout(irreps_in, "irreps_in")
        self.irreps_edge = check_layout(irreps_edge, "irreps_edge")
        paths = product_paths(irreps_in, irreps_edge, irreps_out)
        outputs = [(irreps_in[path.i_in].mul, path.ir_out) for path in paths]
        self.irreps_out = layout(o3.Irreps(outputs))
        collected = [ir for _, ir in self.irreps_out]
        self.path_input: list[int] = [path.i_in for path in paths]
        self.path_edge: list[int] = [path.i_edge for path in paths]
        self.path_output: list[int] = [collected.index(path.ir_out) for path in paths]
        self.n_outputs = len(collected)
        self.n_inputs = len(irreps_in)
        self.rows: list[list[int]] = []  # by first operand: output components of each path
        self.plain: list[bool] = []  # whether the table of the first operand is the identity
        tables, blocks = [], []
        for i, (mul_in, ir_in) in enumerate(irreps_in):
            mine = [path for path in paths if path.i_in == i]
            columns = [irreps_edge[path.i_edge].ir.dim for path in mine]
            self.rows.append([path.ir_out.dim for path in mine])
            table = torch.zeros(sum(self.rows[i]), ir_in.dim, sum(columns), dtype=torch.float64)
            row, column = 0, 0
            for k, path in enumerate(mine):
                mul_edge, ir_edge = irreps_edge[path.i_edge]
                c = coupling(ir_in, ir_edge, path.ir_out).permute(2, 0, 1)
                table[row : row + self.rows[i][k], :, column : column + columns[k]] = c
                row, column = row + self.rows[i][k], column + columns[k]
                blocks.append(torch.randn(mul_in * mul_edge) / mul_edge**0.5)
            tables.append(table.reshape(-1))
            flat = table.reshape(len(table), -1)
            unit = torch.eye(len(table), dtype=torch.float64)
            self.plain.append(flat.shape == unit.shape and torch.allclose(flat, unit, atol=1e-14))
        self.sizes: list[int] = [block.numel() for block in blocks]
        self.table_sizes: list[int] = [table.numel() for table in tables]
        self.weight = torch.nn.Parameter(torch.cat(blocks))
        self.register_buffer("table", torch.cat(tables), persistent=False)

    def forward(self, x: list[torch.Tensor], h: list[torch.Tensor]) -> list[torch.Tensor]:
        """Couple features ``[(n, 2 l1 + 1, mul)]`` with ``[(n, 2 l2 + 1, mul_edge)]``."""
        n = x[0].shape[0]
        weights = self.weight.split(self.sizes)
        tables = self.table.split(self.table_sizes)
        mixed: list[list[torch.Tensor]] = []
        for _ in range(self.n_inputs):
            empty: list[torch.Tensor] = []
            mixed.append(empty)
        for p, i in enumerate(self.path_input):
            second = h[self.path_edge[p]]
            weight = weights[p].view(-1, second.shape[2])
            mixed[i].append(torch.matmul(second, weight.t()))  # (n, d2, mul_in)
        products: list[torch.Tensor] = []
        for i, parts in enumerate(mixed):
            first = x[i]
            second = torch.cat(parts, dim=1)
            outer = first.unsqueeze(2) * second.unsqueeze(1)
            outer = outer.reshape(n, first.shape[1] * second.shape[1], first.shape[2])
            if not self.plain[i]:
                outer = torch.matmul(tables[i].view(-1, outer.shape[1]), outer)
            products += outer.split(self.rows[i], dim=1)
        return by_irrep(products, self.path_output, self.n_outputs)
