"""Live sources: fetch politely, keep every payload, continue where an earlier run stopped."""
