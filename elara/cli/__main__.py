"""Run the command line as `python -m elara.cli`."""

from elara.cli import main

main()
