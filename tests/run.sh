#!/usr/bin/env bash
# Runs every check of the project, as continuous integration does: lint, types, import contracts and
# the tests, in two virtual environments that it makes itself and keeps for the next run.
#
#   newest      the newest torch that is tested, OpenMM; everything but openmmtorch
#   torchforce  torch 2.9.1 with openmmtorch 1.5, the only torch that its wheel imports with (7 GB)
#   torchsim    torch-sim, which needs Python 3.12: only when asked for, PYTHON=python3.12 tests/run.sh torchsim
#
# usage: tests/run.sh [newest] [torchforce] [lint] [torchsim]      (the first three without arguments)
#
# PYTHON               interpreter to make the environments with (python3)
# SE3SET_ENVIRONMENTS  folder of the environments (.venv-tests in the checkout)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

python=${PYTHON:-python3}
environments=${SE3SET_ENVIRONMENTS:-$PWD/.venv-tests}
wanted=" ${*:-lint newest torchforce} "
failed=()

# One thread a test process: xdist fills the cores, and sums come out the same everywhere.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

# prepare NAME EXTRAS REQUIREMENT...   make or refresh one environment; nothing to do when its stamp fits
prepare() {
    local home=$environments/$1 extras=$2 stamp
    shift 2
    stamp=$("$python" --version; echo "$extras $* $PWD"; cat pyproject.toml)
    if [[ -x $home/bin/python && -f $home/stamp && $(<"$home/stamp") == "$stamp" ]]; then
        return 0
    fi
    echo "== preparing $home: $* and the package with [$extras]"
    rm -f "$home/stamp"
    "$python" -m venv "$home" &&
        "$home/bin/pip" install --quiet "$@" --editable ".[$extras]" &&
        "$home/bin/pip" check &&
        printf '%s\n' "$stamp" >"$home/stamp"
}

# step NAME COMMAND...   run one check; remember when it fails, and go on
step() {
    local name=$1
    shift
    echo "== $name"
    "$@" || { echo "== $name failed (exit code $?)"; failed+=("$name"); }
}

if [[ $wanted == *" lint "* || $wanted == *" newest "* ]]; then
    if prepare newest openmm,train,metatomic,test,dev torch==2.13.0; then
        bin=$environments/newest/bin
        if [[ $wanted == *" lint "* ]]; then
            step "ruff check" "$bin/ruff" check .
            step "ruff format" "$bin/ruff" format --check .
            step "mypy" "$bin/mypy"
            step "import-linter" "$bin/lint-imports"
        fi
        if [[ $wanted == *" newest "* ]]; then
            step "tests, newest torch" \
                "$bin/pytest" -m "not torchforce and not heavy" --durations 10 \
                --numprocesses auto --maxprocesses 4
        fi
    else
        failed+=("environment newest")
    fi
fi

if [[ $wanted == *" torchforce "* ]]; then
    if prepare torchforce openmm,torchforce,train,test \
        torch==2.9.1 openmmtorch==1.5 openmm==8.6.1; then
        bin=$environments/torchforce/bin
        # A broken installation must not show as skipped tests. torch brings the CUDA libraries along.
        step "openmmtorch imports" "$bin/python" -c "import torch, openmmtorch"
        step "tests, torch 2.9 and openmmtorch" \
            "$bin/pytest" tests/engines tests/export -m "not heavy" --durations 10 \
            --numprocesses auto --maxprocesses 4
    else
        failed+=("environment torchforce")
    fi
fi

if [[ $wanted == *" torchsim "* ]]; then
    # numba, which torch-sim needs, does not take NumPy 2.5 yet.
    if prepare torchsim torchsim,train,test torch==2.13.0 'numpy<2.5'; then
        bin=$environments/torchsim/bin
        # A Python that is too old must not show as skipped tests.
        step "torch-sim imports" "$bin/python" -c "import torch_sim"
        step "tests, torch-sim" "$bin/pytest" tests/engines/test_torch_sim_model.py
    else
        failed+=("environment torchsim")
    fi
fi

if ((${#failed[@]})); then
    printf '== failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "== all checks passed"
