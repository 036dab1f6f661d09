"""Relaxations and dynamics with a potential, in ASE or OpenMM, recorded alike."""
