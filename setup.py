"""List the packages: every folder of aecompress/ and tui/ with an __init__.py. All else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["aecompress", "aecompress.*"]),
        "aecompress_tui",
        *(f"aecompress_tui.{name}" for name in find_packages("tui")),
    ]
)
