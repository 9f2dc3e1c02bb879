"""Find out what the machine offers to this process: cores, memory, caches, proxies."""
