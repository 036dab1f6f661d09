"""Who is bonded to whom: from SMILES, RDKit, coordinates or OpenMM to a ``Topology``."""
