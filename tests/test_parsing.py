from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aecompress.parsing import DEEPEST, LONGEST_QUOTE, check_depth, decimal, parse_json, parse_toml, quoted


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_json, "[" * 100_000),
        (parse_json, '{"a":' * (DEEPEST + 2) + "1" + "}" * (DEEPEST + 2)),
        (parse_json, "9" * 5000),
        (parse_json, b"\xff{}"),
        (parse_toml, "a = " + "[" * 3000 + "]" * 3000),
        (parse_toml, ".".join(["a"] * 2000) + " = 1"),
        (parse_toml, "a = " + "9" * 5000),
    ],
    ids=["open brackets", "deep", "digits", "bytes", "toml brackets", "dotted", "toml digits"],
)
def test_text_that_no_program_of_ours_writes_is_a_value_error(parse: Callable[[Any], Any], text: Any) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_what_a_spec_needs_is_parsed() -> None:
    assert parse_toml("[model]\nencoder = [{out = 3}]") == {"model": {"encoder": [{"out": 3}]}}
    assert parse_json('{"a": [1.5, null]}') == {"a": [1.5, None]}
    check_depth([[{"a": [1]}]])


def test_decimal_takes_the_ten_digits_alone() -> None:
    assert [decimal(text) for text in ("0", "007", "12")] == [0, 7, 12]
    assert [decimal(text) for text in ("", "-1", "²", "٣", "1_0", "9" * 5000)] == [None] * 6


def test_a_quoted_value_is_short_and_shows_its_beginning() -> None:
    assert quoted("abc") == "abc" and quoted(3) == "3"
    assert len(quoted("x" * 5000)) == LONGEST_QUOTE and quoted("x" * 5000).startswith("xxx")


def test_a_key_of_a_thousand_parts_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="has a key of too many parts"):
        parse_toml("a = 1\nb = {" + ".".join(["c"] * 100_000) + " = 1}")
    assert parse_toml('a = "' + ", ".join(["x.y"] * 500) + '"\nb = [' + "0.5, " * 500 + "]")["b"] == [0.5] * 500
