"""Name the thirteen specialties, as examples, items and scenarios do."""

from __future__ import annotations

GENERAL = "General"  # of examples that belong to none
SPECIALTIES = (
    *("Cardiology", "Dermatology", "Emergency Medicine", "Hematology", "Infectious Disease"),
    *("Internal Medicine", "Neurology", "OB/GYN", "Orthopedics", "Pediatrics", "Psychiatry"),
    *("Radiology", "Surgery/Trauma"),
)


def known(specialty: str) -> str:
    """Give a specialty back if it is one of the thirteen.

    Args:
        specialty: its name.

    Raises:
        ValueError: it is none.
    """
    if specialty not in SPECIALTIES:
        raise ValueError(f"it is none of {', '.join(SPECIALTIES)}")
    return specialty
