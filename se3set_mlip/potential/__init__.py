"""The potential: energies, forces and stress, and the files that hold it."""
