"""`python -m se3set_mlip`: the command line, for launchers that start a module."""

from se3set_mlip.cli import main

if __name__ == "__main__":
    main(prog_name="se3set")
