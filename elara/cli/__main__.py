"""Run the command line by `python -m elara.cli`."""

from elara.cli import main

main()
