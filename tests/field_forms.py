"""For each field of a container the forms in which one value can be written, as Python source; for tests.

Each entry is a list of forms of the same value; a stack with any of them is the same stack.
"""

from __future__ import annotations

FORMS: dict[str, list[list[str]]] = {
    "command": [['["sleep", "500"]', '"sleep 500"', '("sleep", "500")'], ['["sleep", "400"]']],
    "environment": [['{"A": "1", "B": ""}', '["A=1", "B="]', '{"A": 1, "B": ""}'], ['{"C": True}', '["C=true"]']],
    "labels": [['{"x": "1"}', '["x=1"]', '{"x": 1}'], ["{}"]],
    "working_dir": [['"/tmp"'], ['"/"']],
    "user": [['"0:0"'], ['"65534"', "65534"]],
    "hostname": [['"box"']],
    "stop_signal": [['"SIGINT"', '"INT"', '"int"', "2"], ['"SIGTERM"']],
    "stop_grace_period": [["0", '"0s"'], ["1.5", '"1.5s"', '"1500ms"'], ['"1m30s"', "90", '"90s"']],
    "mem_limit": [['"64m"', '"64mb"', '"65536k"', "67108864"], ['"0.5g"', '"512m"']],
    "mem_reservation": [['"32m"', '"33554432"']],
    "cpus": [["0.5", '"0.5"', '"0.50"'], ["1", '"1"', "1.0"]],
    "cpu_shares": [["300", '"300"']],
    "cpuset": [['"0"', "0"]],
    "pids_limit": [["50", '"50"'], ["-1", "0"]],
    "shm_size": [['"128m"', '"131072k"', "134217728"], ['"64m"']],
    "ulimits": [
        ['{"nofile": 100}', '{"nofile": {"soft": 100, "hard": "100"}}'],
        ['{"core": {"soft": 0, "hard": 0}}', '{"core": "0"}'],
    ],
    "sysctls": [['{"net.core.somaxconn": 100}', '["net.core.somaxconn=100"]']],
    "oom_score_adj": [["500", '"500"'], ["0"]],
    "init": [["True"], ["False"]],
    "group_add": [['["5", "6"]', "[5, 6]"]],
    "extra_hosts": [['["db:10.0.0.7"]', '{"db": "10.0.0.7"}', '{"db": ["10.0.0.7"]}', '["db=10.0.0.7"]']],
    "dns": [['"9.9.9.9"', '["9.9.9.9"]']],
    "dns_search": [['"a.test"', '["a.test"]']],
    "dns_opt": [['["ndots:2"]', '"ndots:2"']],
    "annotations": [['{"a": "b"}', '["a=b"]']],
    "volumes": [
        [
            '["data:/data"]',
            '{data: "/data"}',
            '[{"type": "volume", "source": "data", "target": "/data"}]',
            '["data:/data:rw"]',
        ],
        ['["/tmp:/bound:ro"]', '[{"type": "bind", "source": "/tmp", "target": "/bound", "read_only": True}]'],
        ['[{"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": "1m"}}]'],
        [
            '["/tmp:/bound"]',
            '["/tmp:/bound:rprivate"]',
            '[{"type": "bind", "source": "/tmp", "target": "/bound", "bind": {"propagation": "rprivate"}}]',
            '[{"type": "bind", "source": "/tmp", "target": "/bound", "bind": {"recursive": "enabled"}}]',
        ],
        ['["/tmp:/bound:private"]', '{"/tmp": "/bound:rw,private"}'],
        [
            '["data:/data:nocopy"]',
            '[{"type": "volume", "source": data, "target": "/data", "volume": {"nocopy": True}}]',
        ],
    ],
    "networks": [
        ['["back"]', "[back]", '{"back": None}', "{back: {}}"],
        ['{"back": {"aliases": ["w"]}, "default": None}', '{"default": {}, back: {"aliases": ["w"]}}'],
        [
            '{"back": {"interface_name": "lan", "gw_priority": 1, "priority": 0}, "default": {"priority": 5}}',
            '{"default": {"gw_priority": 0}, back: {"aliases": [], "gw_priority": 1, "interface_name": "lan"}}',
        ],
    ],
    "ports": [['["127.0.0.1:0:80"]', '[{"target": 80, "host_ip": "127.0.0.1"}]', "[80]", '["80/tcp"]']],
    "secrets": [['["key"]', "[key]", '[{"source": "key", "target": "key"}]', '[{"source": key}]']],
    "files": [
        ['{"/etc/a": "text"}', '{"/etc/a": File(content="text")}', '{"/etc/a": File(content=b"text", mode="0644")}']
    ],
    "read_only": [["True"], ["False"]],
    "tty": [["True"], ["False"]],
    "stdin_open": [["True"], ["False"]],
    "cap_add": [['["NET_ADMIN"]', '["CAP_NET_ADMIN"]', '["net_admin"]'], ["[]"]],
    "cap_drop": [['["ALL"]', '["all"]'], ['["CHOWN", "KILL"]', '["KILL", "CHOWN"]']],
    "security_opt": [
        ['["no-new-privileges"]', '["no-new-privileges:true"]'],
        ['["seccomp=unconfined"]', '["seccomp:unconfined"]'],
    ],
    "devices": [['["/dev/null:/dev/x"]', '["/dev/null:/dev/x:rwm"]', '[{"source": "/dev/null", "target": "/dev/x"}]']],
    "userns": [['"auto"']],
    "ipc": [['"private"'], ['"shareable"']],
    "restart": [['"always"'], ['"no"'], ['"on-failure:3"'], ['"unless-stopped"']],
    "healthcheck": [
        [
            'HealthCheck(["true"], interval=1)',
            '{"test": ["CMD", "true"], "interval": "1s"}',
            'HealthCheck(["true"], interval="1s")',
        ],
        ['{"disable": True}', '{"test": ["NONE"]}', '{"test": "NONE"}'],
    ],
    "on_unhealthy": [['"restart"'], ['"none"']],
    "logging": [
        ['{"max_size": "1m", "max_file": 2}', '{"options": {"max-size": "1m", "max-file": "2"}}'],
        ['{"driver": "local"}', '{"driver": "json-file"}'],
    ],
    "pre_stop": [['["true"]', '[{"command": "true"}]', '[{"command": ["true"]}]']],
    "ignore_changes": [['["mem_limit"]'], ["[]"]],
    "protect": [["False"]],
}
BEFORE = """
from stackpy import Container, File, HealthCheck, Image, Network, Secret, Volume
back = Network("back")
data = Volume("data")
key = Secret("key", env="KEY")
"""


def container(name: str, chosen: dict[str, str], image: str = "image") -> str:
    """A container's call with these fields in these forms."""
    return f"Container({name!r}, image={image}, {', '.join(f'{key}={form}' for key, form in chosen.items())})\n"
