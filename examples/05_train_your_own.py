"""Train a potential on thirty structures, and evaluate what comes out."""

import argparse
from dataclasses import replace
from pathlib import Path

import ase.io

import se3set_mlip as s3
from se3set_mlip.training import read_training_config, train

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--config", type=Path, default=HERE / "05_train_your_own.yaml")
parser.add_argument("--epochs", type=int, help="instead of the configuration's")
parser.add_argument("--output-dir", help="instead of the configuration's")
parser.add_argument("--resume", action="store_true", help="continue after an interruption")
arguments = parser.parse_args()

config = read_training_config(arguments.config)
if arguments.epochs is not None:
    config = replace(config, optimizer=replace(config.optimizer, epochs=arguments.epochs))
if arguments.output_dir is not None:
    config = replace(config, run=replace(config.run, output_dir=arguments.output_dir))

result = train(config, resume=arguments.resume)
errors = result.metrics["validation"]
print(f"validation: force RMSE {errors['force_rmse_mev_per_angstrom']:.1f} meV/Å")
print(f"learning curve, parity plots and report in {result.output_dir}")

# What was trained is a potential like any other.
potential = s3.load(result.best_model)
atoms = ase.io.read(HERE / "data" / "acetylacetone_30.xyz", index=0)
print(f"first structure: {potential.evaluate(atoms).energy:.4f} eV")
print(f"labelled:        {atoms.info['REF_energy']:.4f} eV")
