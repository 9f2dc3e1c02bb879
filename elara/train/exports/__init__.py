"""Take an adapter elsewhere, and prove that it is still the same."""
