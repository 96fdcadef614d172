"""``python -m aecompress``."""

from aecompress.start import main

main()
