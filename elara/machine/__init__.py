"""The machine that a process runs on: cores, memory, caches, proxies."""
