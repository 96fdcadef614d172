"""The matrix of runtimes that people have: every exported file in every client, `python -m tests.clients`."""
