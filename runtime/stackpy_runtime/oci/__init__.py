"""An OCI runtime: the engine's sandbox for bundles that others have written (runtime-spec 1.0 to 1.2).

podman, containerd and whoever else knows runc's command line run containers through it. Nothing of ours stays behind
between two calls: what is known of a container is a folder (state.py), and its first process waits by itself for
`start` (waiting.py).
"""
