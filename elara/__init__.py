"""Elara: from open medical text to a medical LoRA adapter that can be inspected and audited."""

from elara.machine.proxies import reach_this_computer_directly

__version__ = "0.1.0"

reach_this_computer_directly()
