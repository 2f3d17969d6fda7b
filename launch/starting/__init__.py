"""How a process of this package starts and ends: by path or by name, on which device, beside others, at a signal."""
