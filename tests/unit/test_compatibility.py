"""docs/compatibility.md names every flag of docker run and every key of a Compose service, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from stackpy.cli import run_refusals
from stackpy.cli.commands import run
from stackpy.dsl import container_fields, field_hints

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
# `docker run --help` of Docker 28; it takes --net, --net-alias and --dns-opt as well
FLAGS = [
    f"--{name}"
    for name in (
        "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile "
        "cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus "
        "cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps "
        "device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose "
        "gpus group-add health-cmd health-interval health-retries health-start-interval health-start-period "
        "health-timeout help hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory "
        "label label-file link link-local-ip log-driver log-opt mac-address memory memory-reservation memory-swap "
        "memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid "
        "pids-limit platform privileged publish publish-all pull quiet read-only restart rm runtime security-opt "
        "shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns "
        "uts volume volume-driver volumes-from workdir"
    ).split()
]
# The Compose specification's services, as of 2025
KEYS = (
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name "
    "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset "
    "credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname "
    "driver_opts entrypoint env_file environment expose extends external_links extra_hosts gpus group_add "
    "healthcheck hostname image init ipc isolation label_file labels links logging mac_address mem_limit "
    "mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj "
    "pid pids_limit platform ports post_start pre_start pre_stop privileged profiles provider pull_policy "
    "pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open "
    "stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts "
    "volumes volumes_from working_dir"
).split()


def test_the_page_says_what_is_so() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    flags = {"--help"} | {name for option in run.OPTIONS for name in option.names}
    fields = container_fields.CONTAINER_FIELDS
    expected = {flag: "done" if flag in flags else f"refused: {run_refusals.REFUSED[flag][0]}" for flag in FLAGS}
    expected |= {
        key: "done" if key in fields else f"refused: {field_hints.hint('container', key, fields, fields)}"
        for key in KEYS
    }
    assert rows == expected


def test_each_refused_key_says_what_to_do_instead() -> None:
    fields = container_fields.CONTAINER_FIELDS
    refused = [key for key in KEYS if key not in fields]
    hints = {key: field_hints.hint("container", key, fields, fields) for key in refused}
    assert [key for key, hint in hints.items() if not hint or "does not have it yet" in hint] == []


def test_docker_s_older_names_are_taken_too() -> None:
    named = {name: option.key for option in run.OPTIONS for name in option.names}
    assert {name: named[name] for name in ("--net", "--net-alias", "--dns-opt")} == {
        "--net": "network", "--net-alias": "network_alias", "--dns-opt": "dns_opt",
    }  # fmt: skip
