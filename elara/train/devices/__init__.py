"""Train on several devices, and plan how a GPU is used."""
