from __future__ import annotations

import pytest

from aecompress.flags import FLAGS, NUMBER, NUMBERS, parsed
from aecompress.spec.fields import FIELDS


def test_every_flag_stands_for_one_field_of_the_spec() -> None:
    assert len(FLAGS) > 20
    assert all(flag.field in FIELDS for flag in FLAGS)
    assert len({flag.flag for flag in FLAGS}) == len({flag.field for flag in FLAGS}) == len(FLAGS)


@pytest.mark.parametrize(
    ("text", "metavar", "value"),
    [
        ("3", NUMBER, 3),
        ("0.5", NUMBER, 0.5),
        ("1e-3", NUMBER, 0.001),
        ("many", NUMBER, "many"),
        ("3", "TEXT", "3"),
        ("64,32", NUMBERS, [64, 32]),
        (" 64 , x,", NUMBERS, [64, "x"]),
        ("auto", NUMBERS, "auto"),
    ],
)
def test_text_becomes_the_numbers_it_stands_for(text: str, metavar: str, value: object) -> None:
    found = parsed(text, metavar)
    assert found == value and type(found) is type(value)
