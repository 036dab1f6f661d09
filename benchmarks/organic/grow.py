"""A wider and deeper network that starts as one that is trained, and computes the same.

    python benchmarks/organic/grow.py gfn2-small medium -o runs/organic/grown_medium.safetensors
    python benchmarks/organic/grow.py gfn2-small small --fragment-charge -o grown.safetensors

As in T. Chen, I. Goodfellow, J. Shlens, Net2Net (arXiv 1511.05641): what the narrow network has
learned costs less there. Old channels keep their weights, new ones start at random, and nothing
leads from new channels to old ones, so that the energy is the same at first; the slope with
respect to the zeros is not zero. Further layers stand before the last one and hand on what they
get. Where atoms are to know the charge of their fragment, charges have no effect at first. For the
density interaction.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from e3nn import o3

import se3set_mlip as s3
from se3set_mlip.errors import ConfigError
from se3set_mlip.model.density import DensityLayer, DensityNetwork
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.sizes import named_config
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule

KEPT = ("interaction", "lmax", "n_radial", "radial_hidden", "irreps_final", "fragment_update")
"""Settings of the network that both must share."""


def grown(potential: Potential, size: str, *, fragment_charge: bool = False) -> Potential:
    """Return a potential of another size with the same energies.

    Parameters
    ----------
    potential
        What is to grow.
    size
        As large or larger.
    fragment_charge
        Whether atoms are to know the charge of their fragment, if they do not yet.

    Raises
    ------
    ConfigError
        If the size is narrower or less deep, or differs in more than that.
    """
    old = potential.config.model
    named = named_config(
        size,
        elements=old.elements,
        average_sources=old.average_sources,
        average_incidences=old.average_incidences,
        average_atoms=old.average_atoms,
    )
    new = replace(
        named,
        radial_range_angstrom=old.radial_range_angstrom,
        pair_range_angstrom=old.pair_range_angstrom,
        fragment_charge=fragment_charge or old.fragment_charge,
    )
    other = [name for name in KEPT if getattr(old, name) != getattr(new, name)]
    if old.interaction != "density" or other:
        raise ConfigError(f"{size} differs in {', '.join(other) or 'the interaction'}")
    narrow, wide = (o3.Irreps(config.irreps)[0].mul for config in (old, new))
    if wide < narrow or new.n_layers < old.n_layers:
        raise ConfigError(f"{size} is smaller than what is to grow; choose a larger one")
    config = replace(potential.config, model=new)
    module = PotentialModule(config, dtype=potential.dtype)
    scale = float(potential.module.energy_scale)
    module.set_energies(scale=scale)
    with torch.no_grad():
        module.reference_energies.copy_(potential.module.reference_energies)
        grow_network(potential.module.network, module.network, narrow)
    return Potential(module, config, potential.metadata)


def grow_network(old: DensityNetwork, new: DensityNetwork, width: int) -> None:
    """Write the weights of one network into a larger one; ``width`` is that of the old one."""
    new.embedding[:, :width] = old.embedding
    if old.charge_embedding is not None:
        new.charge_embedding[:, :, :width] = old.charge_embedding
    added = len(new.layers) - len(old.layers)
    for k, layer in enumerate(old.layers[:-1]):
        grow_layer(layer, new.layers[k], width)
        widen(old.read_outs[k], new.read_outs[k], width)
    grow_layer(old.layers[-1], new.layers[-1], width)
    first = len(old.layers) - 1
    for k in range(first, first + added):
        hand_on(new.layers[k], width)
        new.read_outs[k].weight.zero_()
        new.read_outs[k].bias.zero_()
    new.head_hidden.load_state_dict(old.head_hidden.state_dict())
    new.head_out.load_state_dict(old.head_out.state_dict())


def grow_layer(old: DensityLayer, new: DensityLayer, width: int) -> None:
    """Write the weights of a layer into a wider one."""
    old_maps = dict(old.named_modules())
    for name, module in new.named_modules():
        if isinstance(module, EquivariantLinear):
            widen(old_maps[name], module, width)
    for target, source in zip(new.radial.net[:-1], old.radial.net[:-1], strict=True):
        target.load_state_dict(source.state_dict())
    paths = old.radial.offset.shape[0] // width
    of_paths(new.radial.offset, paths)[:, :width] = of_paths(old.radial.offset, paths)
    of_paths(new.radial.net[-1].weight, paths)[:, :width] = of_paths(
        old.radial.net[-1].weight, paths
    )


def of_paths(values: torch.Tensor, paths: int) -> torch.Tensor:
    """Return values by path and channel, (paths, channels, ...)."""
    return values.view(paths, -1, *values.shape[1:])


def widen(old: EquivariantLinear, new: EquivariantLinear, width: int) -> None:
    """Write a linear map into a wider one; new channels do not reach old ones.

    Both sides of it hold so many groups (paths, elements) of ``width`` channels, and as many groups
    of more; or what does not grow.
    """
    for target, source in zip(new.matrices(), old.matrices(), strict=True):
        rows, columns = source.shape
        if rows == 0:
            continue  # an irrep that the input lacks
        inside = rows // width if target.shape[0] != rows else 1
        outside = columns // width if target.shape[1] != columns else 1
        blocks = target.view(inside, target.shape[0] // inside, outside, -1)
        kept_in, kept_out = rows // inside, columns // outside
        blocks[:, kept_in:, :, :kept_out] = 0.0
        blocks[:, :kept_in, :, :kept_out] = source.view(inside, kept_in, outside, kept_out)
    if len(old.bias):
        groups = len(old.bias) // width if len(old.bias) != len(new.bias) else 1
        of_paths(new.bias, groups)[:, : len(old.bias) // groups] = of_paths(old.bias, groups)


def hand_on(layer: DensityLayer, width: int) -> None:
    """Let a layer return the old channels of what it gets, and something of its own in the new."""
    for module in (layer.out_first, layer.out_second.linear, layer.out_third.linear):
        groups = 1 if module is layer.out_first else layer.residual.n_elements
        for matrix in module.matrices():
            matrix.view(matrix.shape[0], groups, -1)[:, :, :width] = 0.0
    for matrix in layer.residual.linear.matrices():
        channels = matrix.shape[0]
        blocks = matrix.view(channels, layer.residual.n_elements, channels)
        blocks[:, :, :width] = 0.0
        for k in range(width):
            blocks[k, :, k] = 2.0  # a layer returns half the sum of its terms


def main() -> None:
    """Write the grown potential."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="name or file")
    parser.add_argument("size", help="such as medium")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--fragment-charge", action="store_true", help="atoms know the charge of their fragment"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    model = s3.load(options.model)
    found = grown(model, options.size, fragment_charge=options.fragment_charge)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(options.output, found)
    n_weights = sum(weight.numel() for weight in found.module.parameters())
    print(f"{options.output}: {n_weights} parameters")


if __name__ == "__main__":
    main()
