"""Perception from OpenMM."""


def graph_from_openmm(*a, **k):
    raise NotImplementedError
