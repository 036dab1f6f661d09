"""Symbols and radii of the elements."""

import pytest

from se3set_mlip.elements import (
    COVALENT_RADII,
    SYMBOLS,
    check_elements,
    format_charge,
    formula,
    symbol,
)
from se3set_mlip.errors import InputError


def test_every_element_has_one_symbol() -> None:
    assert len(SYMBOLS) == 119
    assert len(set(SYMBOLS)) == 119
    spots = {0: "X", 1: "H", 26: "Fe", 53: "I", 57: "La", 71: "Lu", 86: "Rn", 118: "Og"}
    assert {number: SYMBOLS[number] for number in spots} == spots
    assert symbol(8) == "O"


def test_radii_are_those_of_the_published_model() -> None:
    named = {SYMBOLS[number]: radius for number, radius in COVALENT_RADII.items()}
    published = (
        "H 0.31, Li 1.28, B 0.84, C 0.76, N 0.71, O 0.66, F 0.57, Si 1.11, P 1.07, S 1.05, "
        "Cl 1.02, As 1.19, Se 1.20, Br 1.20, Te 1.38, I 1.39"
    )
    assert ", ".join(f"{name} {radius:.2f}" for name, radius in named.items()) == published


@pytest.mark.parametrize("number", [0, -1, 119])
def test_numbers_that_are_no_element_raise(number: int) -> None:
    with pytest.raises(InputError, match=f"atomic number {number} is no element"):
        symbol(number)


def test_unknown_elements_are_all_named_with_their_first_atom() -> None:
    message = r"Na \(atomic number 11, first at atom 1\), Fe \(atomic number 26, .*known are H Li B"
    with pytest.raises(InputError, match=message):
        check_elements([8, 11, 26, 11])
    with pytest.raises(InputError, match=r"\? \(atomic number 400"):
        check_elements([400])


def test_formulas_are_in_hill_order() -> None:
    assert formula([8, 1, 6, 1, 1, 6, 17]) == "C2H3ClO"
    assert formula([8, 1, 1]) == "H2O"
    assert formula([17, 1]) == "ClH"
    assert formula([]) == ""


def test_charges_have_a_sign_unless_zero() -> None:
    assert [format_charge(charge) for charge in (-2, 0, 1)] == ["-2", "0", "+1"]
