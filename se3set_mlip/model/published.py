"""Weights trained with the published SE3Set program, read into our network.

The published names are mapped one to one; buffers that we compute (3j symbols, masks) are dropped.
The same mapping serves ``golden/model.npz`` and checkpoints of the published program, whose state
dict has these names. Energies come in the unit that the weights were trained in.
"""

from collections.abc import Mapping
from typing import Any

import torch

from se3set_mlip.errors import ArtifactError, ConfigError
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.se3set import SE3Set

_COMPUTED = ("output_mask", "_w3j_", "gate.mul.weight")
_UNUSED = ("norm_he.affine_weight", "norm_he.affine_bias")

_RENAMED = (
    ("rbf.", "radial_basis."),
    ("node_embed.atom_type_lin.", "atom_embedding."),
    ("hyperedge_embed.atom_type_lin.", "incidence_embedding."),
    ("node_deg_embed.", "atom_degree."),
    ("he_deg_embed.", "incidence_degree."),
    ("norm_node_1.", "norm_atom."),
    ("norm_node_2.", "norm_atom_out."),
    ("norm_node.", "norm_atom."),
    ("norm_he_1.", "norm_incidence."),
    ("norm_he_2.", "norm_incidence_out."),
    ("norm_he.", "norm_incidence."),
    ("v2e_ga.sep_act.dtp_rad.", "radial."),
    ("v2e_ga.merge_dst.", "source_attention.from_incidence."),
    ("v2e_ga.merge_src.", "source_attention.from_source."),
    ("e2v_ga.merge_dst.", "incidence_attention.from_atom."),
    ("v2e_ga.", "source_attention."),
    ("e2v_ga.", "incidence_attention."),
    ("sep_act.dtp.", "product."),
    ("sep_value.dtp.", "second_product."),
    ("sep_act.lin.", "heads.to_gate."),
    ("sep_value.lin.", "heads.to_value."),
    ("sep_alpha.", "heads.to_logits."),
    ("attention.proj.", "attention.heads.project."),
    ("attention.alpha_dot", "attention.heads.alpha_dot"),
    ("ffn_he.lin_1.", "feed_forward_incidence.expand."),
    ("ffn_he.lin_2.", "feed_forward_incidence.contract."),
    ("ffn_node.lin_1.", "feed_forward_atom.expand."),
    ("ffn_node.lin_2.", "feed_forward_atom.contract."),
    ("ffn_shortcut_node.", "shortcut."),
    ("degree.lin.", "degree.constant."),
    ("degree.dtp.", "degree.product."),
    ("degree.rad.", "degree.radial."),
    ("degree.proj.", "degree.project."),
    ("head.0.", "head_hidden."),
    ("head.2.", "head_out."),
    ("affine_weight", "weight"),
    ("affine_bias", "bias"),
    ("tp.weight", "weight"),
    ("bias.0", "bias"),
)


def published_config(settings: Mapping[str, Any], statistics: Mapping[str, Any]) -> ModelConfig:
    """Translate the published program's settings.

    Parameters
    ----------
    settings
        The published model's constructor arguments.
    statistics
        Its dataset statistics: atom types and averages.

    Raises
    ------
    ConfigError
        If a setting asks for a variant of the network that is not implemented here.
    """
    expected = {
        "he_as_node_init": True,
        "use_he_degree_embedding": True,
        "use_he_as_message": False,
        "use_he_scalar": False,
        "update_he_feature": True,
        "irreps_hyperedge_feature": None,
        "irreps_pre_attn": None,
        "rescale_degree": False,
        "nonlinear_message": True,
        "use_attn_head": False,
        "norm_layer": "layer",
        "mean_out": False,
        "irreps_out": "1x0e",
    }
    for name, value in expected.items():
        if settings.get(name, value) != value:
            raise ConfigError(
                f"published setting {name} = {settings[name]!r} is not supported, only {value!r}; "
                "this checkpoint cannot be read"
            )
    if settings["irreps_node_embedding"] != settings["irreps_hyperedge_embedding"]:
        raise ConfigError("published atom and hyperedge irreps differ; this is not supported")
    bases = {"exp": "exponential_normal", "gaussian": "gaussian"}
    kind = settings["rbf_basis_type"]
    if kind not in bases:
        raise ConfigError(f"published radial basis {kind!r} is none of {sorted(bases)}")
    harmonics = str(settings["irreps_sh"])
    return ModelConfig(
        elements=tuple(statistics["atom_types"]),
        interaction="attention",
        irreps=settings["irreps_node_embedding"],
        irreps_final=settings["irreps_node_feature"],
        irreps_head=settings["irreps_head"],
        irreps_hidden=settings["irreps_mlp_mid"],
        lmax=harmonics.count("+"),
        n_layers=settings["num_layers"],
        n_heads=settings["num_heads"],
        radial_basis=bases[kind],
        radial_envelope="cosine",
        n_radial=settings["number_of_basis"],
        radial_range_angstrom=settings["max_radius"],
        radial_hidden=tuple(settings["fc_neurons"]),
        norm="per_irrep",
        average_sources=statistics["avg_hyperedge_degree"],
        average_incidences=statistics["avg_node_degree"],
        average_atoms=statistics["avg_num_nodes"],
    )


def our_name(published: str) -> str:
    """Translate a published weight name to ours."""
    name = published
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


def load_published(model: SE3Set, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy published weights into ``model``.

    Raises
    ------
    ArtifactError
        If a weight is missing, left over or of another size than the network's.
    """
    own = dict(model.named_parameters())
    left = {name for name, value in own.items() if value.numel() > 0}
    for published, value in weights.items():
        in_block = published.startswith("blocks.")
        unused = in_block and any(published.endswith(f".{name}") for name in _UNUSED)
        if any(part in published for part in _COMPUTED) or unused or value.numel() == 0:
            continue
        name = our_name(published)
        if name not in own:
            raise ArtifactError(f"published weight {published!r} has no place in this network")
        if own[name].numel() != value.numel():
            raise ArtifactError(
                f"published weight {published!r} has {value.numel()} numbers, the network's "
                f"{name!r} has {own[name].numel()}; the settings do not fit the weights"
            )
        with torch.no_grad():
            own[name].copy_(value.reshape(own[name].shape))
        left.discard(name)
    if left:
        raise ArtifactError(f"the published weights lack {min(left)!r} and {len(left) - 1} more")
