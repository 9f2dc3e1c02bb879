"""More than one device, and GPUs used well."""
