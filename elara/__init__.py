"""Elara: from open medical text to a medical LoRA adapter that can be inspected and audited."""

from elara.machine.proxies import spare_this_computer

__version__ = "0.1.0"

spare_this_computer()
