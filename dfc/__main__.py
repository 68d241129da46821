"""`python -m dfc`."""

from dfc.cli import main

main()
