"""Hypergraphs: systems of fragments to the tensors that the network eats."""
