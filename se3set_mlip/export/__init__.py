"""TorchScript files of a potential, and loading of any model file."""
