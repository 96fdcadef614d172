"""``python -m aecompress``."""

from aecompress.cli.main import main

main()
