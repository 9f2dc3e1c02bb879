"""Train on from an earlier adapter without forgetting; keep versions."""
