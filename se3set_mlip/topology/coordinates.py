"""Perception from coordinates."""


def graph_from_coordinates(*a, **k):
    raise NotImplementedError
