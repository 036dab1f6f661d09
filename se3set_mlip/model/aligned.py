"""Products with directions, and the linear maps around them, in frames aligned with the edges.

There a product couples equal m alone, channel by channel, with constants that depend on |m|
(arXiv 2302.03655). Two consequences, both exact:

- a linear map after a product acts on each m by itself, with fewer rows the larger |m|
  (:class:`AlignedProduct`);
- a product whose weights are the same for all pairs, and the linear map after it, are one matrix
  for each |m| (:class:`AlignedMap`).

Features are aligned as :mod:`.frames` says: ``[(n, 2l+1, mul)]`` with m = 0, -1, 1, -2, 2, ...
*By |m|* they are ``[(n, 1, channels), (n, 2, channels), ...]``, the channels of all irreps with l
at least |m| side by side.
"""

import torch
from e3nn import o3

from se3set_mlip.model.tensor_product import EdgeCoupling, Path, coupling


def couples_equal_m(paths: list[Path], irreps_in: o3.Irreps, irreps_sh: o3.Irreps) -> bool:
    """Return whether all paths have an even sum of degrees; odd ones couple m with -m."""
    return all(
        (irreps_in[path.i_in].ir.l + irreps_sh[path.i_edge].ir.l + path.ir_out.l) % 2 == 0
        for path in paths
    )


def aligned_constants(ir_in: o3.Irrep, ir_edge: o3.Irrep, ir_out: o3.Irrep) -> list[float]:
    """Return the factor of |m| = 0, 1, ... in the product with harmonics along the polar axis."""
    table = coupling(ir_in, ir_edge, ir_out)[:, ir_edge.l, :] * ir_edge.dim**0.5
    return [float(table[ir_in.l + m, ir_out.l + m]) for m in range(min(ir_in.l, ir_out.l) + 1)]


class _Rows:
    """Where the paths of an :class:`EdgeCoupling` stand in the rows of a linear map after it.

    Parameters
    ----------
    edge_coupling
        Gives irreps and paths.
    """

    def __init__(self, edge_coupling: EdgeCoupling) -> None:
        irreps_in, paths = edge_coupling.irreps_in, edge_coupling.paths
        self.irreps_in = irreps_in
        kinds = sorted({path.ir_out for path in paths})
        self.degrees = [ir.l for ir in kinds]
        self.paths = [[k for k, p in enumerate(paths) if p.ir_out == ir] for ir in kinds]
        self.inputs = [[paths[k].i_in for k in mine] for mine in self.paths]
        starts, start = [], 0
        for path in paths:
            starts.append(start)
            start += irreps_in[path.i_in].mul
        self.constants: list[list[torch.Tensor]] = []  # by output, by |m|: one factor per row
        self.weights: list[torch.Tensor] = []  # by output: which weight stands in each row
        for mine in self.paths:
            by_m: list[list[torch.Tensor]] = []
            for k in mine:
                path = paths[k]
                mul, ir = irreps_in[path.i_in].mul, irreps_in[path.i_in].ir
                edge = edge_coupling.irreps_sh[path.i_edge].ir
                for m, factor in enumerate(aligned_constants(ir, edge, path.ir_out)):
                    if m == len(by_m):
                        by_m.append([])
                    by_m[m].append(torch.full((mul,), factor, dtype=torch.float64))
            self.constants.append([torch.cat(parts) for parts in by_m])
            rows = [torch.arange(starts[k], starts[k] + irreps_in[paths[k].i_in].mul) for k in mine]
            self.weights.append(torch.cat(rows))


class AlignedProduct(torch.nn.Module):
    """Depthwise product with directions, weights for each pair, then linear maps; no parameters.

    Parameters
    ----------
    edge_coupling
        Gives irreps and paths, all of which must couple equal m (:func:`couples_equal_m`).
    """

    factors: torch.Tensor

    def __init__(self, edge_coupling: EdgeCoupling) -> None:
        super().__init__()
        rows = _Rows(edge_coupling)
        paths = edge_coupling.paths
        self.degree_in: list[int] = [ir.l for _, ir in rows.irreps_in]
        self.path_mul: list[int] = [rows.irreps_in[path.i_in].mul for path in paths]
        self.sizes_m: list[int] = [1] + [2] * max(self.degree_in)
        self.degree_out: list[int] = rows.degrees
        self.path_input: list[list[int]] = rows.inputs
        self.path: list[list[int]] = rows.paths
        self.n_rows: list[int] = [int(index.numel()) for index in rows.weights]
        self.factor_size: list[list[int]] = [[f.numel() for f in by_m] for by_m in rows.constants]
        factors = [factor for by_m in rows.constants for factor in by_m]
        self.register_buffer("factors", torch.cat(factors).unsqueeze(1), persistent=False)

    def forward(self, x: list[torch.Tensor], weights: torch.Tensor) -> list[list[torch.Tensor]]:
        """Couple aligned features ``[(n, 2l+1, mul)]`` with directions.

        Parameters
        ----------
        x
            Aligned features.
        weights
            Weights per pair, path and channel, (n, n_weights).

        Returns
        -------
        list
            For each output irrep and |m|: ``(n, 1, rows)`` for 0, ``(n, 2, rows)`` above, without
            the constants, which :meth:`linear` puts into its weights.
        """
        # Splitting costs one small operation in the derivative, slicing one of full size each.
        by_path = weights.unsqueeze(1).split(self.path_mul, dim=2)
        reach: list[list[torch.Tensor]] = []  # by input: components up to |m| = 0, 1, ...
        for i, degree in enumerate(self.degree_in):
            upto = [x[i][:, : 2 * m + 1] for m in range(degree)]
            upto.append(x[i])
            reach.append(upto)
        out: list[list[torch.Tensor]] = []
        for o, degree in enumerate(self.degree_out):
            found: list[list[torch.Tensor]] = []
            for _ in range(degree + 1):
                empty: list[torch.Tensor] = []
                found.append(empty)
            for k, i in enumerate(self.path_input[o]):
                top = min(degree, self.degree_in[i])
                scaled = reach[i][top] * by_path[self.path[o][k]]
                for m, part in enumerate(scaled.split(self.sizes_m[: top + 1], dim=1)):
                    found[m].append(part)
            out.append([torch.cat(parts, dim=2) for parts in found])
        return out

    def linear(
        self, product: list[list[torch.Tensor]], weights: list[torch.Tensor]
    ) -> list[list[torch.Tensor]]:
        """Map each output irrep of :meth:`forward` by its matrix (rows, columns)."""
        out: list[list[torch.Tensor]] = []
        start = 0
        for o, by_m in enumerate(product):
            mapped: list[torch.Tensor] = []
            for m, value in enumerate(by_m):
                size = self.factor_size[o][m]
                factor = self.factors[start : start + size]
                matrix = weights[o][self.n_rows[o] - size :] * factor
                mapped.append(torch.matmul(value, matrix))
                start += size
            out.append(mapped)
        return out


class AlignedMap(torch.nn.Module):
    """Depthwise product with directions, the same weights for all pairs, and the linear map after.

    One matrix for each |m|, made from the weights of both; no parameters of its own.

    Parameters
    ----------
    edge_coupling
        As for :class:`AlignedProduct`.
    """

    factors: torch.Tensor
    weight_index: torch.Tensor

    def __init__(self, edge_coupling: EdgeCoupling) -> None:
        super().__init__()
        rows = _Rows(edge_coupling)
        self.lmax = max(ir.l for _, ir in rows.irreps_in)
        self.multiplicity: list[int] = [mul for mul, _ in rows.irreps_in]
        self.degree_in: list[int] = [ir.l for _, ir in rows.irreps_in]
        self.degree_out: list[int] = rows.degrees
        n_inputs = len(rows.irreps_in)
        self.count: list[list[int]] = [
            [sum(i == k for i in mine) for k in range(n_inputs)] for mine in rows.inputs
        ]
        self.n_rows: list[int] = [int(index.numel()) for index in rows.weights]
        self.factor_size: list[list[int]] = [[f.numel() for f in by_m] for by_m in rows.constants]
        factors = [factor for by_m in rows.constants for factor in by_m]
        self.register_buffer("factors", torch.cat(factors), persistent=False)
        self.register_buffer("weight_index", torch.cat(rows.weights), persistent=False)

    def matrices(self, weight: torch.Tensor, linear: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the matrix of each |m|, (channels with l >= |m| before, and after).

        Parameters
        ----------
        weight
            Weights of the product, one per path and channel.
        linear
            Matrices of the linear map by output irrep, each (rows, columns).
        """
        chosen = weight.index_select(0, self.weight_index)
        columns: list[list[torch.Tensor]] = []
        for _ in range(self.lmax + 1):
            empty: list[torch.Tensor] = []
            columns.append(empty)
        start, factor_start = 0, 0
        for o, degree in enumerate(self.degree_out):
            own = chosen[start : start + self.n_rows[o]]
            start += self.n_rows[o]
            for m in range(degree + 1):
                size = self.factor_size[o][m]
                skip = self.n_rows[o] - size
                factor = self.factors[factor_start : factor_start + size] * own[skip:]
                factor_start += size
                scaled = linear[o][skip:] * factor.unsqueeze(1)
                parts: list[torch.Tensor] = []
                row = 0
                for i, mul in enumerate(self.multiplicity):
                    if self.degree_in[i] >= m:
                        count = self.count[o][i]
                        block = scaled[row : row + count * mul].view(count, mul, scaled.shape[1])
                        parts.append(block.sum(dim=0))
                        row += count * mul
                columns[m].append(torch.cat(parts, dim=0))
        return [torch.cat(blocks, dim=1) for blocks in columns]
