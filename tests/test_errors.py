from __future__ import annotations

from aecompress.errors import LONGEST, MOST_LINES, DataError, SpecError, TableError, printable, shortened


def test_a_message_is_short_and_keeps_its_beginning_and_its_cure() -> None:
    message = str(DataError("x.csv: " + "a" * 100_000 + "; give numbers only"))
    assert len(message) <= LONGEST
    assert message.startswith("x.csv: aaa") and message.endswith("aaa; give numbers only")
    assert shortened("one\ntwo") == "one\ntwo"


def test_a_list_of_faults_has_a_bounded_number_of_lines() -> None:
    fault = SpecError([f"field{number}: wrong" for number in range(50)])
    assert len(fault.faults) == 50
    assert str(fault).splitlines()[-1] == f"and {50 - MOST_LINES} more"


ESCAPE = "\x1b]0;pwned\x07\x9b31m\u202etxt\x7f"


def test_no_message_steers_the_terminal() -> None:
    message = str(SpecError([f"{ESCAPE}: wrong", "second"]))
    assert message == "\\x1b]0;pwned\\x07\\x9b31m\\u202etxt\\x7f: wrong\nsecond"
    assert printable("tab\tline\nend é 😀") == "tab\tline\nend é 😀"


def test_a_table_has_all_its_faults_and_the_command_that_works() -> None:
    fault = TableError(["a.csv: column 'x' holds dates", "a.csv: column 'y' holds texts"], "aecompress prune a.csv")
    assert isinstance(fault, DataError) and len(fault.faults) == 2
    assert str(fault).splitlines() == [*fault.faults, "this works: aecompress prune a.csv"]
    assert str(TableError(["one"])) == "one"
