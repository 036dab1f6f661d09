"""Pairs of atoms within a range, in open space or in periodic cells of any size.

Two ways to the same list: all pairs of a structure when it is small (one pass over a whole batch),
and bins of the width of the range when it is large (linear in atoms). Both give every ordered pair
``(i, j, S)`` with ``|r_j + S cell - r_i| < range``, images of the same atom included, in a fixed
order. Indices carry no gradient.
"""

import torch


def cell_heights(cell: torch.Tensor) -> torch.Tensor:
    """Return the distances between opposite faces of cells (n, 3, 3), shape (n, 3), in Å."""
    volume = torch.linalg.det(cell).abs().unsqueeze(1)
    normals = torch.stack(
        [
            torch.linalg.cross(cell[:, 1], cell[:, 2]),
            torch.linalg.cross(cell[:, 2], cell[:, 0]),
            torch.linalg.cross(cell[:, 0], cell[:, 1]),
        ],
        dim=1,
    )
    return volume / normals.pow(2).sum(dim=2).sqrt()


def usable_cell(cell: torch.Tensor, pbc: torch.Tensor) -> torch.Tensor:
    """Return cells whose open directions are replaced by vectors that make them invertible.

    Parameters
    ----------
    cell
        (n_structures, 3, 3) in Å; rows of open directions are ignored.
    pbc
        (n_structures, 3) bool.
    """
    if bool(pbc.all()):
        return cell
    identity = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
    candidate = torch.where(pbc.unsqueeze(2), cell, identity)
    # An open direction parallel to a lattice vector would be singular: use the normals instead.
    n_periodic = pbc.sum(dim=1)
    result = candidate.clone()
    for s in range(cell.shape[0]):
        count = int(n_periodic[s].item())
        if count == 1:
            k = int(pbc[s].to(torch.int64).argmax().item())
            basis = torch.linalg.svd(cell[s, k : k + 1])[2]
            result[s, (k + 1) % 3] = basis[1]
            result[s, (k + 2) % 3] = basis[2]
        elif count == 2:
            k = int((~pbc[s]).to(torch.int64).argmax().item())
            normal = torch.linalg.cross(cell[s, (k + 1) % 3], cell[s, (k + 2) % 3])
            result[s, k] = normal / normal.norm()
    return result


def wrap_shifts(
    positions: torch.Tensor, cell: torch.Tensor, pbc: torch.Tensor, structure: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return fractional coordinates wrapped into the cell, and the integer shifts taken off.

    Shapes (n_atoms, 3) both; open directions are not wrapped.
    """
    inverse = torch.linalg.inv(cell)
    fractional = torch.einsum("ni,nij->nj", positions, inverse[structure])
    shifts = torch.floor(fractional) * pbc[structure].to(fractional.dtype)
    return fractional - shifts, shifts


def _brute_force(
    positions: torch.Tensor,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    structure: torch.Tensor,
    cutoff: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pairs (i, j) and shifts of whole batches by looking at all pairs of each structure."""
    n_structures = cell.shape[0]
    counts = torch.bincount(structure, minlength=n_structures)
    starts = counts.cumsum(0) - counts
    per_atom = counts[structure]
    n_atoms = positions.shape[0]
    i = torch.repeat_interleave(torch.arange(n_atoms, device=positions.device), per_atom)
    first = per_atom.cumsum(0) - per_atom
    j = torch.arange(i.shape[0], device=positions.device) - first[i] + starts[structure[i]]
    zero = torch.zeros(3, dtype=positions.dtype, device=positions.device)
    if not bool(pbc.any()):
        near = (positions[j] - positions[i]).pow(2).sum(dim=1) < cutoff * cutoff
        near = near & (i != j)
        i, j = i[near], j[near]
        return i, j, zero.expand(i.shape[0], 3)

    full = usable_cell(cell, pbc)
    fractional, shifts = wrap_shifts(positions, full, pbc, structure)
    heights = torch.where(pbc, cell_heights(full), torch.full_like(full[:, 0], 1e30))
    reach = torch.where(pbc, torch.floor(cutoff / heights) + 1.0, torch.zeros_like(heights))
    reach = reach.amax(dim=0)
    n0, n1, n2 = int(reach[0].item()), int(reach[1].item()), int(reach[2].item())
    delta = fractional[j] - fractional[i]
    cells = full[structure[i]]
    allowed = pbc[structure[i]]
    found_i: list[torch.Tensor] = []
    found_j: list[torch.Tensor] = []
    found_s: list[torch.Tensor] = []
    for a in range(-n0, n0 + 1):
        for b in range(-n1, n1 + 1):
            for c in range(-n2, n2 + 1):
                image = torch.tensor([a, b, c], dtype=positions.dtype, device=positions.device)
                vector = torch.einsum("ni,nij->nj", delta + image, cells)
                near = vector.pow(2).sum(dim=1) < cutoff * cutoff
                if a == 0 and b == 0 and c == 0:
                    near = near & (i != j)
                near = near & ((image == 0) | allowed).all(dim=1)
                index = near.nonzero().squeeze(1)
                if index.shape[0] > 0:
                    found_i.append(i[index])
                    found_j.append(j[index])
                    found_s.append(image.expand(index.shape[0], 3))
    if len(found_i) == 0:
        none = torch.zeros(0, dtype=torch.int64, device=positions.device)
        return none, none, zero.expand(0, 3)
    out_i, out_j = torch.cat(found_i), torch.cat(found_j)
    # Atoms were wrapped by -shifts; express the image relative to the atoms as they came.
    out_s = torch.cat(found_s) + shifts[out_i] - shifts[out_j]
    return out_i, out_j, out_s


def _binned(
    positions: torch.Tensor, cell: torch.Tensor, pbc: torch.Tensor, cutoff: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pairs and shifts of one structure with bins at least as wide as the range.

    ``cell`` is (1, 3, 3) and ``pbc`` (1, 3).
    """
    n_atoms = positions.shape[0]
    structure = torch.zeros(n_atoms, dtype=torch.int64, device=positions.device)
    full = usable_cell(cell, pbc)
    fractional, shifts = wrap_shifts(positions, full, pbc, structure)
    periodic = pbc[0]
    # Open directions: the unit vector becomes as long as the structure.
    low = torch.where(periodic, torch.zeros_like(fractional[0]), fractional.amin(dim=0))
    extent = torch.where(
        periodic, torch.ones_like(low), (fractional.amax(dim=0) - low).clamp(min=1e-6) * 1.0001
    )
    box = full[0] * extent.unsqueeze(1)
    heights = cell_heights(box.unsqueeze(0))[0]
    n_bins = torch.floor(heights / cutoff).clamp(min=1.0, max=1024.0)
    # Space that is mostly empty gets wider bins, so that there are only a few for each atom.
    excess = n_bins.prod() / (8.0 * float(n_atoms))
    n_bins = torch.floor(n_bins / excess.clamp(min=1.0).pow(1.0 / 3.0)).clamp(min=1.0)
    width = heights / n_bins
    reach = torch.ceil(cutoff / width - 1e-12)
    reach = torch.where(periodic, reach, torch.minimum(reach, n_bins - 1.0))
    bins = torch.floor((fractional - low) / extent * n_bins)
    bins = torch.minimum(bins.clamp(min=0.0), n_bins - 1.0).to(torch.int64)
    size = n_bins.to(torch.int64)
    stride = torch.stack([size[1] * size[2], size[2], torch.ones_like(size[2])])
    flat = (bins * stride).sum(dim=1)
    order = torch.argsort(flat, stable=True)
    count = torch.bincount(flat, minlength=int(size.prod().item()))
    start = count.cumsum(0) - count
    atoms = torch.arange(n_atoms, device=positions.device)
    found_i: list[torch.Tensor] = []
    found_j: list[torch.Tensor] = []
    found_s: list[torch.Tensor] = []
    n0, n1, n2 = int(reach[0].item()), int(reach[1].item()), int(reach[2].item())
    for a in range(-n0, n0 + 1):
        for b in range(-n1, n1 + 1):
            for c in range(-n2, n2 + 1):
                target = bins + torch.tensor([a, b, c], device=positions.device)
                image = torch.div(target, size, rounding_mode="floor")
                valid = ((image == 0) | periodic).all(dim=1)
                flat_target = ((target - image * size) * stride).sum(dim=1)
                here = torch.where(valid, count[flat_target], torch.zeros_like(flat_target))
                i = torch.repeat_interleave(atoms, here)
                first = here.cumsum(0) - here
                offset = torch.arange(i.shape[0], device=positions.device) - first[i]
                j = order[start[flat_target[i]] + offset]
                s = image[i].to(positions.dtype)
                vector = torch.matmul(fractional[j] - fractional[i] + s, full[0])
                near = vector.pow(2).sum(dim=1) < cutoff * cutoff
                near = near & ((i != j) | (s != 0).any(dim=1))
                index = near.nonzero().squeeze(1)
                found_i.append(i[index])
                found_j.append(j[index])
                found_s.append(s[index])
    out_i, out_j = torch.cat(found_i), torch.cat(found_j)
    out_s = torch.cat(found_s) + shifts[out_i] - shifts[out_j]
    return out_i, out_j, out_s


def neighbor_pairs(
    positions: torch.Tensor,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    structure: torch.Tensor,
    cutoff: float,
    brute_force_atoms: int = 256,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return all ordered pairs of atoms of one structure that are closer than ``cutoff``.

    Parameters
    ----------
    positions
        (n_atoms, 3) in Å; may lie outside the cell.
    cell, pbc
        (n_structures, 3, 3) in Å and (n_structures, 3).
    structure
        (n_atoms,) int64, ascending.
    cutoff
        Range in Å.
    brute_force_atoms
        Structures of more atoms are searched with bins.

    Returns
    -------
    tuple
        ``i`` (n,), ``j`` (n,) and lattice shifts ``S`` (n, 3) in the dtype of the positions, such
        that ``r_j + S cell - r_i`` is the vector from i to j.
    """
    positions, cell = positions.detach(), cell.detach()
    counts = torch.bincount(structure, minlength=cell.shape[0])
    if int(counts.max().item()) <= brute_force_atoms:
        return _brute_force(positions, cell, pbc, structure, cutoff)
    found_i: list[torch.Tensor] = []
    found_j: list[torch.Tensor] = []
    found_s: list[torch.Tensor] = []
    start = 0
    for s in range(counts.shape[0]):
        end = start + int(counts[s].item())
        i, j, shift = _binned(positions[start:end], cell[s : s + 1], pbc[s : s + 1], cutoff)
        found_i.append(i + start)
        found_j.append(j + start)
        found_s.append(shift)
        start = end
    return torch.cat(found_i), torch.cat(found_j), torch.cat(found_s)
