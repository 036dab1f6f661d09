"""Why membership is smooth: one network, one path, and both rules for who belongs to a fragment.

A methanol molecule leaves another one. By the published rule atoms enter and leave the reach of
fragments in steps, and the energy steps with them; with smooth membership the same weights give a
smooth curve. The weights are random: the steps come from the rule, not from the training.
"""

import argparse
from dataclasses import replace

import ase.build
import matplotlib.pyplot as plt
import numpy as np
import torch

import se3set_mlip as s3
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential_module import PotentialModule

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--points", type=int, default=400)
parser.add_argument("--output", default="06_smooth_membership.png")
arguments = parser.parse_args()

torch.manual_seed(1)
model = ModelConfig(
    elements=(1, 6, 8), interaction="attention", irreps="16x0e+8x1o+4x2e", n_layers=1
)
smooth = PotentialConfig(model=model, hypergraph=HypergraphConfig(membership="smooth"))
hard = replace(smooth, hypergraph=HypergraphConfig(membership="hard"))
module = PotentialModule(smooth)
twin = PotentialModule(hard)
twin.load_state_dict(module.state_dict())
potentials = {
    "published rule": s3.Potential(twin.eval(), hard),
    "smooth membership": s3.Potential(module.eval(), smooth),
}

methanol = ase.build.molecule("CH3OH")
distances = np.linspace(4.0, 7.0, arguments.points)
path = []
for distance in distances:
    other = methanol.copy()
    other.translate([distance, 0.0, 0.0])
    path.append(methanol + other)

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for name, potential in potentials.items():
    energies = np.array([result.energy for result in potential.evaluate(path, forces=False)])
    change = 1000.0 * (energies - energies[-1])
    print(
        f"{name}: largest step between neighbouring points {np.abs(np.diff(change)).max():.3f} meV"
    )
    axes.plot(distances, change, label=name, lw=1.4 if "smooth" in name else 0.9)
axes.set_xlabel("distance of two methanol molecules (Å)")
axes.set_ylabel("energy (meV, random weights)")
axes.legend()
figure.savefig(arguments.output, dpi=150)
print(f"picture in {arguments.output}")
