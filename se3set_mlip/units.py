"""Units: eV and Å inside; every conversion factor derived once, from CODATA 2018.

The elementary charge, the Avogadro constant and the Boltzmann constant are exact in the SI of
2019; the Hartree energy and the Bohr radius are the CODATA 2018 values (E. Tiesinga et al., Rev.
Mod. Phys. 93, 025010 (2021), doi:10.1103/RevModPhys.93.025010).
"""

ELEMENTARY_CHARGE_COULOMB = 1.602176634e-19
AVOGADRO_PER_MOL = 6.02214076e23
BOLTZMANN_JOULE_PER_KELVIN = 1.380649e-23

KJ_PER_MOL_PER_EV = ELEMENTARY_CHARGE_COULOMB * AVOGADRO_PER_MOL / 1000.0
"""1 eV in kJ/mol: 96.48533..."""

KCAL_PER_MOL_PER_EV = KJ_PER_MOL_PER_EV / 4.184
"""1 eV in thermochemical kcal/mol: 23.06054..."""

BOLTZMANN_EV_PER_KELVIN = BOLTZMANN_JOULE_PER_KELVIN / ELEMENTARY_CHARGE_COULOMB

EV_PER_HARTREE = 27.211386245988
ANGSTROM_PER_BOHR = 0.529177210903
ANGSTROM_PER_NANOMETER = 10.0

MEV_PER_EV = 1000.0
FEMTOSECONDS_PER_PICOSECOND = 1000.0
