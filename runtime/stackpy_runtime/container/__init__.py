"""One container: its plan as data, the sandbox that carries it out, cgroups, security, logs, health, restart."""
