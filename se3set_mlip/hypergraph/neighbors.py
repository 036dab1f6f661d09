"""Pairs of atoms within a range, in open space or in periodic cells of any size.

1. Periodic cells: atoms are wrapped, and images of them within the range of the cell are added.
2. Each atom looks around itself: at all of its structure when that is small (one pass over a whole
   batch), else into bins of the width of the range (linear in atoms).

Both ways give every ordered pair ``(i, j, S)`` with ``|r_j + S cell - r_i| < range``, images of the
same atom included, in a fixed order. Indices carry no gradient.
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
    if not bool(pbc.any()):
        return candidate
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


def _with_images(
    positions: torch.Tensor,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    structure: torch.Tensor,
    cutoff: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return atoms in their cells, and with them all images within range of the cells.

    Returns
    -------
    tuple
        Places of atoms (n_atoms, 3) and of atoms and images (n_images, 3); the atom of each image,
        (n_images,), ascending; lattice steps to it from the atom as it came, (n_images, 3), and to
        each atom in its cell, (n_atoms, 3).
    """
    atoms = torch.arange(positions.shape[0], device=positions.device)
    if not bool(pbc.any()):
        none = torch.zeros_like(positions)
        return positions, positions, atoms, none, none
    full = usable_cell(cell, pbc)
    fractional, shifts = wrap_shifts(positions, full, pbc, structure)
    margins = cutoff / cell_heights(full)  # (n_structures, 3)
    most = torch.where(pbc, torch.ceil(margins), torch.zeros_like(margins)).amax(dim=0)
    reach: list[int] = most.to(torch.int64).tolist()
    steps = [torch.arange(-n, n + 1, dtype=positions.dtype, device=positions.device) for n in reach]
    images = torch.cartesian_prod(steps[0], steps[1], steps[2])  # (n_steps, 3)
    low, high = -margins[structure].unsqueeze(1), 1.0 + margins[structure].unsqueeze(1)
    moved = fractional.unsqueeze(1) + images  # (n_atoms, n_steps, 3)
    periodic = pbc[structure].unsqueeze(1)
    inside = torch.where(periodic, (moved >= low) & (moved <= high), images == 0)
    found = inside.all(dim=2).nonzero()
    owner, image = found[:, 0], images[found[:, 1]]
    cells = full[structure]
    home = torch.einsum("ni,nij->nj", fractional, cells)
    places = home[owner] + torch.einsum("ni,nij->nj", image, cells[owner])
    return home, places, owner, image - shifts[owner], -shifts


def _around_all(
    home: torch.Tensor,
    places: torch.Tensor,
    structure: torch.Tensor,
    owner: torch.Tensor,
    cutoff: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return atoms and places within range of each other, by looking at all of each structure."""
    counts = torch.bincount(structure[owner])
    starts = counts.cumsum(0) - counts
    here = counts[structure]
    i = torch.repeat_interleave(torch.arange(home.shape[0], device=home.device), here)
    first = here.cumsum(0) - here
    row = torch.arange(i.shape[0], device=home.device) - first[i] + starts[structure[i]]
    near = (places[row] - home[i]).pow(2).sum(dim=1) < cutoff * cutoff
    return i[near], row[near]


def _around_binned(
    home: torch.Tensor, places: torch.Tensor, cutoff: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return atoms and places within range of each other, of one structure, by bins."""
    low = places.amin(dim=0)
    span = (places.amax(dim=0) - low).clamp(min=1e-6) * 1.0001
    n_bins = torch.floor(span / cutoff).clamp(min=1.0, max=1024.0)
    # Space that is mostly empty gets wider bins, so that there are only a few for each place.
    excess = n_bins.prod() / (8.0 * float(places.shape[0]))
    n_bins = torch.floor(n_bins / excess.clamp(min=1.0).pow(1.0 / 3.0)).clamp(min=1.0)
    width = span / n_bins
    reach = torch.minimum(torch.ceil(cutoff / width - 1e-12), n_bins - 1.0)
    numbers: list[int] = torch.cat([n_bins, reach]).to(torch.int64).tolist()
    nx, ny, nz = numbers[0], numbers[1], numbers[2]
    top = n_bins - 1.0
    bins = torch.minimum(torch.floor((places - low) / width).clamp(min=0.0), top).to(torch.int64)
    flat = (bins[:, 0] * ny + bins[:, 1]) * nz + bins[:, 2]
    order = torch.argsort(flat, stable=True)
    count = torch.bincount(flat, minlength=nx * ny * nz)
    stop = count.cumsum(0)
    start = stop - count
    own = torch.minimum(torch.floor((home - low) / width).clamp(min=0.0), top).to(torch.int64)
    lowest = (own[:, 2] - numbers[5]).clamp(min=0)
    highest = (own[:, 2] + numbers[5]).clamp(max=nz - 1)
    atoms = torch.arange(home.shape[0], device=home.device)
    found_i: list[torch.Tensor] = []
    found_row: list[torch.Tensor] = []
    for a in range(-numbers[3], numbers[3] + 1):
        for b in range(-numbers[4], numbers[4] + 1):  # columns of bins, each in one piece
            x, y = own[:, 0] + a, own[:, 1] + b
            valid = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
            column = (x.clamp(0, nx - 1) * ny + y.clamp(0, ny - 1)) * nz
            begin = start[column + lowest]
            here = torch.where(valid, stop[column + highest] - begin, torch.zeros_like(begin))
            i = torch.repeat_interleave(atoms, here)
            first = here.cumsum(0) - here
            row = order[torch.arange(i.shape[0], device=home.device) + (begin - first)[i]]
            near = (places[row] - home[i]).pow(2).sum(dim=1) < cutoff * cutoff
            found_i.append(i[near])
            found_row.append(row[near])
    return torch.cat(found_i), torch.cat(found_row)


def neighbor_pairs(
    positions: torch.Tensor,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    structure: torch.Tensor,
    cutoff: float,
    brute_force_atoms: int = 128,
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
    home, places, owner, to_image, to_home = _with_images(
        positions.detach(), cell.detach(), pbc, structure, cutoff
    )
    counts: list[int] = torch.bincount(structure).tolist()
    if max(counts) <= brute_force_atoms:
        i, row = _around_all(home, places, structure, owner, cutoff)
    else:
        ends: list[int] = torch.searchsorted(
            structure[owner], torch.arange(len(counts), device=owner.device), right=True
        ).tolist()
        found_i: list[torch.Tensor] = []
        found_row: list[torch.Tensor] = []
        atom, place = 0, 0
        for s in range(len(counts)):
            next_atom = atom + counts[s]
            some_i, some_row = _around_binned(home[atom:next_atom], places[place : ends[s]], cutoff)
            found_i.append(some_i + atom)
            found_row.append(some_row + place)
            atom, place = next_atom, ends[s]
        i, row = torch.cat(found_i), torch.cat(found_row)
    j = owner[row]
    shift = to_image[row] - to_home[i]
    other = (i != j) | (shift != 0).any(dim=1)
    return i[other], j[other], shift[other]
