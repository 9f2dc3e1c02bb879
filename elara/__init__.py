"""Elara: from open medical text to a medical LoRA adapter that can be inspected and audited."""

__version__ = "0.1.0"
