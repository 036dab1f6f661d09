"""Simulation programs that a potential drives: ASE and OpenMM."""
