"""Linear maps with weights of their own for each element, on atoms in the order of their elements.

``y_l = x_l W_l[Z]``: atoms of one element lie one after the other, so that each element is one
matrix product, and no weight meets an atom that is not its own.
"""

from typing import NamedTuple

import torch
from e3nn import o3

from se3set_mlip.model.linear import EquivariantLinear


class ElementLinear(torch.nn.Module):
    """Linear map of features with weights of its own for each element.

    Parameters
    ----------
    irreps_in, irreps_out
        Irreps in layout form.
    n_elements
        How many elements.

    Attributes
    ----------
    wide
        Whether all elements' weights are applied to all atoms, of which each keeps its own: the
        same values at more cost, for compilers that cannot take sizes from data.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, n_elements: int) -> None:
        super().__init__()
        wide = o3.Irreps([(mul * n_elements, ir) for mul, ir in irreps_out])
        self.linear = EquivariantLinear(irreps_in, wide, bias=False)
        self.n_elements = n_elements
        self.muls: list[int] = [mul for mul, _ in irreps_out]
        self.wide = False

    def forward(
        self, x: list[torch.Tensor], element: torch.Tensor, counts: list[int]
    ) -> list[torch.Tensor]:
        """Map ``[(n, 2l+1, mul_in)]``.

        Parameters
        ----------
        x
            Features.
        element
            Indices of elements, (n,) int64, ascending.
        counts
            How often each element occurs.
        """
        out: list[torch.Tensor] = []
        if self.wide:
            for value in self.linear(x):
                n, dim, mul = value.shape
                parts = value.view(n, dim, self.n_elements, mul // self.n_elements)
                index = element.view(n, 1, 1, 1).expand(n, dim, 1, parts.shape[3])
                out.append(parts.gather(2, index).squeeze(2))
            return out
        for k, matrix in enumerate(self.linear.matrices()):
            i = self.linear.input_index[k]
            if i < 0:  # an irrep that the input lacks
                zeros = x[0].new_zeros(x[0].shape[0], self.linear.output_dim[k], self.muls[k])
                out.append(zeros)
                continue
            weights = matrix.chunk(self.n_elements, dim=1)
            pieces: list[torch.Tensor] = []
            for e, part in enumerate(x[i].split(counts)):
                if counts[e] > 0:
                    pieces.append(torch.matmul(part, weights[e]))
            out.append(torch.cat(pieces))
        return out


class ElementOrder(NamedTuple):
    """Atoms in the order of their elements."""

    order: torch.Tensor
    """The atom at each place, (n_atoms,) int64."""
    place: torch.Tensor
    """The place of each atom, (n_atoms,) int64."""
    element: torch.Tensor
    """Index of the element at each place, (n_atoms,) int64, ascending."""
    counts: list[int]
    """How often each element occurs."""


def element_order(element: torch.Tensor, n_elements: int) -> ElementOrder:
    """Return the order of atoms by the indices of their elements, (n_atoms,) int64."""
    order = torch.argsort(element, stable=True)
    places = torch.arange(order.shape[0], device=order.device)
    place = torch.empty_like(order).index_copy(0, order, places)
    counts: list[int] = torch.bincount(element, minlength=n_elements).tolist()
    return ElementOrder(order, place, element[order], counts)
