"""Plain torch in the place of the packages that the published program imports.

Its network asks torch_scatter and torch_geometric, which have to be compiled or downloaded for one
version of torch, for four small functions; three more names it imports, but not for the settings
measured here. :func:`install` puts modules with these names where Python looks for imports. All of
them are sums over a few hundred rows, one to two per cent of the time of energy and forces.
"""

import sys
from types import ModuleType
from typing import NoReturn

import torch


def scatter(
    src: torch.Tensor,
    index: torch.Tensor,
    dim: int = -1,
    *,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> torch.Tensor:
    """Return the sums of the rows of ``src`` that have the same index.

    Parameters
    ----------
    src
        (n_rows, ...).
    index
        Which sum each row goes to, (n_rows,) int64.
    dim
        The axis of the rows; only 0 is meant here.
    dim_size
        How many sums; the largest index tells by default.
    reduce
        Only ``"sum"`` is meant here.

    Raises
    ------
    ValueError
        For another axis or reduction.
    """
    if dim != 0 or reduce != "sum":
        raise ValueError(f"scatter over axis {dim} by {reduce!r}: this stand-in sums over axis 0")
    size = int(index.max()) + 1 if dim_size is None else dim_size
    return src.new_zeros(size, *src.shape[1:]).index_add(0, index, src)


def softmax(src: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return exp(src), divided by its sum over the rows of the same index, (n_rows, n_columns)."""
    n = int(index.max()) + 1
    top = src.new_full((n, src.shape[1]), -torch.inf)
    top = top.index_reduce(0, index, src.detach(), "amax")
    exponential = (src - top[index]).exp()
    total = exponential.new_zeros(n, src.shape[1]).index_add(0, index, exponential)
    return exponential / total[index]


def remove_self_loops(
    edge_index: torch.Tensor, edge_attr: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pairs (2, n_pairs) whose ends differ, and their rows of ``edge_attr``."""
    keep = edge_index[0] != edge_index[1]
    return edge_index[:, keep], edge_attr[keep]


def glorot(tensor: torch.Tensor) -> None:
    """Fill a tensor (..., n_in, n_out) with Glorot's uniform numbers."""
    bound = (6.0 / (tensor.shape[-2] + tensor.shape[-1])) ** 0.5
    torch.nn.init.uniform_(tensor, -bound, bound)


def _not_meant(*_: object) -> NoReturn:
    """Refuse what the settings measured here never call."""
    raise NotImplementedError("the stand-ins have only what the settings of this benchmark use")


_MODULES = {
    "torch_scatter": {"scatter": scatter},
    "torch_geometric": {},
    "torch_geometric.utils": {"softmax": softmax, "remove_self_loops": remove_self_loops},
    "torch_geometric.nn": {"global_mean_pool": _not_meant, "global_max_pool": _not_meant},
    "torch_geometric.nn.inits": {"glorot": glorot},
    "torch_geometric.nn.models": {},
    "torch_geometric.nn.models.schnet": {"GaussianSmearing": _not_meant},
}


def install() -> None:
    """Make ``import torch_scatter`` and ``import torch_geometric`` find the functions above."""
    for name, contents in _MODULES.items():
        module = ModuleType(name)
        for key, value in contents.items():
            setattr(module, key, value)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
