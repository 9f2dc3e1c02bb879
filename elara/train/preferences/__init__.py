"""Tune on what readers thought of answers: DPO and KTO."""
