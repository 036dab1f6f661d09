"""Checks that tell whether a potential is fit for dynamics, on the user's own structure.

A subject is a potential of this package or any ASE calculator; a specimen is a structure with the
bonds that it is held to. Every check returns what was measured and what is allowed::

    from se3set_mlip.testing import Specimen, as_subject, check_crossings, run_report

    report = run_report(calculator, atoms)                               # everything
    results = check_crossings(as_subject(calculator), Specimen(atoms))   # one law

- ``run_report``, ``run_checks``: all checks; ``Report``, ``CheckResult``: what comes out.
- ``Subject``, ``PotentialSubject``, ``CalculatorSubject``, ``as_subject``: what is checked.
- ``Specimen``: what it is checked on; :mod:`.specimens` and :mod:`.paths` make others of it.
- ``check_symmetry``, ``check_forces``, ``check_stress``, ``check_hessian``, ``check_crossings``,
  ``check_hidden_steps``, ``check_symmetric_site``, ``check_skin``, ``check_extensivity``,
  ``check_locality``, ``check_periodic``, ``check_batching``: laws that hold for any weights.
- ``check_agreement``, ``check_memory``: the same numbers everywhere, and no leak.
- ``check_diatomics``, ``check_bonds``, ``check_drift``, ``check_order``, ``check_stability``: what
  was learned, and dynamics.

Tolerances are constants of the modules that hold the checks. Energies in eV, lengths in Å.
"""

from se3set_mlip.testing.agreement import check_agreement
from se3set_mlip.testing.batching import check_batching
from se3set_mlip.testing.crossings import check_crossings
from se3set_mlip.testing.derivatives import check_forces, check_hessian, check_stress
from se3set_mlip.testing.hidden_steps import check_hidden_steps
from se3set_mlip.testing.locality import check_extensivity, check_locality
from se3set_mlip.testing.memory import check_memory
from se3set_mlip.testing.nve import check_drift, check_order
from se3set_mlip.testing.periodic import check_periodic
from se3set_mlip.testing.report import Report
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.run import run_checks, run_report
from se3set_mlip.testing.scans import check_bonds, check_diatomics
from se3set_mlip.testing.sites import check_symmetric_site
from se3set_mlip.testing.skin import check_skin
from se3set_mlip.testing.stability import check_stability
from se3set_mlip.testing.subject import Specimen, Subject, Values
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject, as_subject
from se3set_mlip.testing.symmetry import check_symmetry

__all__ = [
    "CalculatorSubject",
    "CheckResult",
    "PotentialSubject",
    "Report",
    "Specimen",
    "Subject",
    "Values",
    "as_subject",
    "check_agreement",
    "check_batching",
    "check_bonds",
    "check_crossings",
    "check_diatomics",
    "check_drift",
    "check_extensivity",
    "check_forces",
    "check_hessian",
    "check_hidden_steps",
    "check_locality",
    "check_memory",
    "check_order",
    "check_periodic",
    "check_skin",
    "check_stability",
    "check_stress",
    "check_symmetric_site",
    "check_symmetry",
    "run_checks",
    "run_report",
]
