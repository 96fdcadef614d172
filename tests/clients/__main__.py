"""Run every exported file in every client: `python -m tests.clients [--markdown] [CLIENT...]`.

A CLIENT is how names of tests/clients/table.py begin; the default is all of them. Each is installed in its versions in
`.venv-clients/` at the first call, some gigabytes in all, from PyPI and npm. It exits with 1 where a file is wrong,
refused or not folded and the table does not say so, and where the table says so and it is not.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.clients.environments import answers, installed
from tests.clients.files import read_cases, write_cases
from tests.clients.results import faults, judged, markdown
from tests.clients.table import CLIENTS

PLACE = Path(__file__).parents[2] / ".venv-clients"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/deploy.md")
    parser.add_argument("--files", action="store_true", help="take the files of the last call, as they are")
    parser.add_argument("clients", nargs="*", metavar="CLIENT")
    given = parser.parse_args()
    names = [name for name in CLIENTS if not given.clients or name.startswith(tuple(given.clients))]
    if not names:
        parser.error(f"no client begins so; there are {', '.join(CLIENTS)}")
    files = PLACE / "files"
    cases = read_cases(files) if given.files else write_cases(files)
    print(f"{len(cases)} files", flush=True)
    results, wrong = [], []
    for name in names:
        if CLIENTS[name].node and shutil.which("npm") is None:
            print(f"{name}: not run, there is no npm", flush=True)
            continue
        try:
            place = installed(CLIENTS[name], PLACE / name.replace(" ", "-"))
        except subprocess.CalledProcessError as fault:
            wrong.append(f"{name}: cannot be installed: {fault}")
            continue
        begun = time.monotonic()
        found = judged(name, cases, answers(CLIENTS[name], place, files, len(cases)))
        counts = Counter(result.outcome for result in found)
        words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        print(f"{name}: {words} in {time.monotonic() - begun:.0f} s", flush=True)
        results += found
    wrong += faults(results)
    print("\n".join(wrong) or "all as expected")
    if given.markdown:
        print(markdown(results, datetime.date.today().isoformat()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
