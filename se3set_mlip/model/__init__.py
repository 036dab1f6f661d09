"""The network: a hypergraph to an energy for each atom."""
