"""Prove what an adapter was trained on: certificate, passport, card, verification."""
