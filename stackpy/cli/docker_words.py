"""Commands of docker, Compose and their like that have another name here → what to type instead.

Where the nearest of our names would lead astray: `up` is not `update`, and `rmi` not `rm`.
"""

from __future__ import annotations

INSTEAD = {
    "up": "`stackpy apply` makes what runs what stack.py says",
    "down": "`stackpy destroy` removes what the stack has made",
    "preview": "`stackpy plan` shows what an apply would do",
    "refresh": "what is, is read each time: `stackpy drift` shows what somebody has changed",
    "config": "`stackpy validate` checks the stack file, `stackpy graph` shows what it declares",
    "compose": "`stackpy apply` is `compose up` and `stackpy destroy` is `compose down`, of a stack.py",
    "docker": "`stackpy ps`, `stackpy run` … take docker's flags, without the word `docker`",
    "container": "containers need no noun: `stackpy ps`, `stackpy run`, `stackpy rm` …",
    "images": "`stackpy image ls` lists images",
    "rmi": "`stackpy image rm` removes images",
    "volumes": "`stackpy volume ls` lists volumes",
    "networks": "`stackpy network ls` lists networks",
    "info": "`stackpy system info` shows what the engine holds and runs on",
    "prune": "`stackpy system prune` removes what nothing needs",
    "buildx": "`stackpy build` builds Dockerfiles with BuildKit's syntax",
    "image build": "`stackpy build` builds a Dockerfile",
    "system events": "`stackpy events` shows them",
    "secret": "secrets are declared in stack.py: Secret(name, env=… | file=… | command=…)",
    "state": "there is no state file: `stackpy ps` and `stackpy drift` show what is",
    "stack": "`stackpy ls` lists the stacks",
    "service": "a service is a Container(…) of stack.py: `stackpy ps` lists what runs",
}
