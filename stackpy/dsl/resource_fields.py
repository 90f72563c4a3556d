"""What a container may use and finds around it: limits, kernel settings, names, in the Compose specification's forms.

Whether the host can give it is the engine's to say (StackEngine.resolve).
"""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import quantities, values
from stackpy.dsl.values import Complaints, Invalid, meant, one_of, show, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ULIMITS = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
BLKIO_RATES = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
_CPUSET = pattern(r"\d{1,10}(-\d{1,10})?(,\d{1,10}(-\d{1,10})?)*", ascii_only=True)
_GROUP = pattern(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*\$?")
_SYSCTL = pattern(r"[A-Za-z0-9_]+([./][A-Za-z0-9_.:@-]+)+", ascii_only=True)
_DOMAIN = pattern(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_.])?", ascii_only=True)
_WORD = pattern(r"[^\s#\x00]+")
_PARENT = pattern(r"/?[^/\x00\s]+(/[^/\x00\s]+)*/?")


def size_or_unlimited(value: object) -> int:
    """Bytes; -1 is as much as there is."""
    if value in (-1, "-1") and not isinstance(value, bool):
        return -1
    return quantities.size(value)


def swappiness(value: object) -> int:
    """0 to 100; -1 is the host's."""
    return quantities.whole(value, -1, 100)


def shares(value: object) -> int:
    """CPU shares; 0 is the default."""
    return quantities.whole(value, 0, 262144)


def microseconds(value: object) -> int:
    """A time: a number of microseconds, or with a unit: "400ms"."""
    try:
        return quantities.whole(value, -1, 10**9)
    except Invalid:
        if not isinstance(value, str):
            raise wrong('a number of microseconds, or a time such as "50ms"', value) from None
    return round(quantities.duration(value) * 1e6)


def cpuset(value: object) -> str:
    """`0-2,4`: never counted out, whatever its numbers."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > 4096 or (text and not _CPUSET.fullmatch(text)):
        raise wrong('a list of CPUs such as "0-2,4"', value)
    return text


def score(value: object) -> int:
    """-1000 to 1000."""
    return quantities.whole(value, -1000, 1000)


def ulimits(value: object) -> dict[str, dict[str, int]]:
    """{"nofile": 1024} or {"nofile": {"soft": 1024, "hard": 2048}}; -1 and "unlimited" are no limit."""
    if not isinstance(value, Mapping):
        raise wrong('a mapping such as {"nofile": 1024}', value)
    result: dict[str, dict[str, int]] = {}
    complaints = Complaints()
    for name, given in value.items():
        try:
            result[name] = ulimit(name, given)
        except Invalid as invalid:
            complaints.add(invalid, str(name))
    complaints.settle(result)
    return dict(sorted(result.items()))


def ulimit(name: object, given: object) -> dict[str, int]:
    """One of them."""
    if name not in ULIMITS:
        raise Invalid(f"is no limit of a process: {show(name)}", meant(str(name), ULIMITS), key=True)
    if not isinstance(given, Mapping):
        return dict.fromkeys(("soft", "hard"), _bound(given))
    for key in given:
        if key not in ("soft", "hard"):
            raise Invalid(f"has an unknown key `{key}`", meant(str(key), ("soft", "hard")), (str(key),), True)
    if len(given) != 2:
        raise Invalid("must have `soft` and `hard`")
    soft, hard = _bound(given["soft"]), _bound(given["hard"])
    if hard != -1 and not 0 <= soft <= hard:
        raise Invalid(f"has a soft limit above the hard one: {given['soft']} and {given['hard']}")
    return {"soft": soft, "hard": hard}


def ulimit_words(value: list[str]) -> dict[str, dict[str, int]]:
    """docker's `nofile=1024:2048` and `nofile=1024`."""
    result = {}
    for index, text in enumerate(value):
        name, _, bounds = text.partition("=")
        soft, _, hard = bounds.partition(":")
        try:
            if not bounds:
                raise wrong("NAME=SOFT or NAME=SOFT:HARD", text)
            result[name] = ulimit(name, {"soft": soft, "hard": hard or soft})
        except Invalid as invalid:
            raise Invalid(invalid.message, invalid.hint, (index,)) from None
    return result


def _bound(value: object) -> int:
    if value == "unlimited":
        return -1
    return quantities.whole(value, -1, 2**63 - 1)


def sysctls(value: object) -> dict[str, str]:
    """A mapping, or a list of `name=value`."""
    result: dict[str, str] = values.pairs(value, alone="")
    complaints = Complaints()
    for index, (name, content) in enumerate(result.items()):
        at = name if isinstance(value, Mapping) else index
        if not _SYSCTL.fullmatch(name):
            complaints.add(Invalid(f"is not the name of a sysctl: {show(name)}", "such as net.core.somaxconn"), at)
        elif not content:
            complaints.add(Invalid("must have a value"), at)
    complaints.settle()
    return result


def blkio(value: object) -> dict[str, Any]:
    """Compose's blkio_config: weight, weight_device, device_{read,write}_{bps,iops}."""
    keys = ("weight", "weight_device", *BLKIO_RATES)
    if not isinstance(value, Mapping):
        raise wrong('a mapping such as {"weight": 300}', value)
    result: dict[str, Any] = {}
    complaints = Complaints()
    for key, item in value.items():
        try:
            if key not in keys:
                raise Invalid(f"has an unknown key `{key}`", meant(str(key), keys), key=True)
            result[key] = weight(item) if key == "weight" else _devices(key, item)
        except Invalid as invalid:
            complaints.add(invalid, str(key))
    complaints.settle(result)
    return {key: item for key, item in result.items() if item}


def weight(value: object) -> int:
    """A share of block devices, from 10 to 1000; 0 is none of its own."""
    share = quantities.whole(value, 0, 1000)
    if 0 < share < 10:
        raise wrong("a whole number from 10 to 1000", value)
    return share


def _devices(key: str, value: object) -> list[dict[str, Any]]:
    word = "weight" if key == "weight_device" else "rate"
    if not isinstance(value, list | tuple):
        raise wrong(f'a list such as [{{"path": "/dev/sda", "{word}": 100}}]', value)
    result = []
    for index, item in enumerate(value):
        if not isinstance(item, Mapping) or set(item) != {"path", word}:
            raise Invalid(f"must be a mapping with `path` and `{word}`, not {show(item)}", path=(index,))
        try:
            amount = weight(item[word]) if word == "weight" else _rate(key, item[word])
            result.append({"path": values.absolute(item["path"]), word: amount})
        except Invalid as invalid:
            raise invalid.inside(index) from None
    return sorted(result, key=lambda one: str(one["path"]))


def _rate(key: str, value: object) -> int:
    rate = quantities.size(value) if key.endswith("_bps") else quantities.whole(value, 1, 2**63 - 1)
    if rate < 1:
        raise wrong("a rate above 0", value)
    return rate


def device_rate(key: str, text: str) -> dict[str, Any]:
    """`/dev/sda:1mb` of a flag."""
    path, _, amount = text.rpartition(":")
    if not path:
        raise wrong("DEVICE:AMOUNT, such as /dev/sda:1mb", text)
    word = "weight" if key == "weight_device" else "rate"
    return _devices(key, [{"path": path, word: amount}])[0]


def storage(value: object) -> dict[str, int]:
    """{"size": "1G"}."""
    if not isinstance(value, Mapping) or set(value) != {"size"}:
        raise wrong('a mapping with `size`: {"size": "10G"}', value)
    try:
        size = quantities.size(value["size"])
        if size < 1 << 20:
            raise wrong("at least 1 MiB", value["size"])
    except Invalid as invalid:
        raise invalid.inside("size") from None
    return {"size": size}


def storage_words(value: list[str]) -> dict[str, int]:
    """docker's `size=10G`."""
    name, equals, size = value[-1].partition("=")
    if name != "size" or not equals:
        raise Invalid(f"must be size=BYTES, not {show(value[-1])}", path=(len(value) - 1,))
    try:
        return storage({"size": size})
    except Invalid as invalid:
        raise Invalid(invalid.message, invalid.hint, (len(value) - 1,)) from None


def shared_memory(value: object) -> int:
    """Bytes of /dev/shm."""
    size = quantities.size(value)
    if 0 < size < 4096:
        raise wrong("at least 4 KiB", value)
    return size


def groups(value: object) -> list[str]:
    """Groups by name or number, each once."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong("a list of groups", value)
    result: dict[str, None] = {}
    complaints = Complaints()
    for index, item in enumerate(value):
        text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not isinstance(text, str) or not _GROUP.fullmatch(text):
            complaints.add(wrong("a group's name or number", item), index)
        else:
            result[text] = None
    complaints.settle()
    return list(result)


def domain(value: object) -> str:
    """A NIS domain name, which is what `domainname` shows."""
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise wrong("a domain such as example.com, of at most 63 characters", value)
    return value


def extra_hosts(value: object) -> dict[str, list[str]]:
    """{"db": "10.0.0.7"}, {"db": ["10.0.0.7", "::1"]}, or a list of `db:10.0.0.7` and `db=10.0.0.7`."""
    pairs: list[tuple[str | int, object, object]] = []
    if isinstance(value, Mapping):
        for key, given in value.items():
            pairs += [(str(key), key, one) for one in (given if isinstance(given, list | tuple) else [given])]
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            separator = "=" if isinstance(item, str) and "=" in item else ":"
            word, found, rest = item.partition(separator) if isinstance(item, str) else ("", "", "")
            pairs.append((index, word if found else item, rest if found else None))
    else:
        raise wrong("a mapping of names to addresses, or a list of `NAME:ADDRESS`", value)
    result: dict[str, list[str]] = {}
    complaints = Complaints()
    for at, name, address in pairs:
        text = address[1:-1] if isinstance(address, str) and address[:1] == "[" and address[-1:] == "]" else address
        if not isinstance(name, str) or not _WORD.fullmatch(name) or address is None:
            complaints.add(wrong("NAME:ADDRESS", name), at)
        elif text != "host-gateway" and not is_address(text):
            complaints.add(wrong("an IP address or host-gateway", address), at)
        else:
            known = result.setdefault(name, [])
            known += [str(text)] if text not in known else []
    complaints.settle()
    return result


def is_address(text: object) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    import _socket  # ipaddress and socket cost 5 ms to import

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text if isinstance(text, str) else "")
        except (OSError, ValueError):
            continue
        return True
    return False


def resolvers(value: object) -> list[str]:
    """An address, or a list of them."""
    found = values.words_or_one(value)
    complaints = Complaints()
    for index, word in enumerate(found):
        if not is_address(word):
            complaints.add(wrong("an IP address", word), index)
    complaints.settle()
    return found


def single_words(value: object) -> list[str]:
    """A word, or a list of them."""
    found = values.words_or_one(value)
    complaints = Complaints()
    for index, word in enumerate(found):
        if not _WORD.fullmatch(word):
            complaints.add(wrong("one word", word), index)
    complaints.settle()
    return found


def annotated(value: object) -> dict[str, str]:
    """A mapping, or a list of `NAME=value`."""
    result: dict[str, str] = values.pairs(value, alone="")
    return result


def group_path(value: object) -> str:
    """The path of a control group, from the top."""
    text = value.strip("/") if isinstance(value, str) else ""
    if not isinstance(value, str) or not _PARENT.fullmatch(value) or {".", ".."} & set(text.split("/")):
        raise wrong("the path of a control group, such as /build", value)
    return f"/{text}"


def runtime_name(value: object) -> str:
    """An OCI runtime of the host: its name, or its path."""
    name = value if isinstance(value, str) else ""
    plain = name.replace("-", "").replace(".", "").replace("_", "")
    if not name.isprintable() or (not name.startswith("/") and not (plain.isascii() and plain.isalnum())):
        raise wrong('the name or the path of an OCI runtime, such as "crun"', value)
    return name


# Of a container's control group: all of them can change while it runs.
LIMITS: dict[str, Callable[[Any], Any]] = {
    "mem_limit": quantities.size,
    "memswap_limit": size_or_unlimited,
    "mem_reservation": quantities.size,
    "mem_swappiness": swappiness,
    "oom_kill_disable": values.flag,
    "cpus": quantities.processors,
    "cpu_shares": shares,
    "cpu_period": microseconds,
    "cpu_quota": microseconds,
    "cpu_rt_period": microseconds,
    "cpu_rt_runtime": microseconds,
    "cpuset": cpuset,
    "pids_limit": quantities.processes,
    "blkio_config": blkio,
}
SURROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "shm_size": shared_memory,
    "ulimits": ulimits,
    "sysctls": sysctls,
    "oom_score_adj": score,
    "init": values.flag,
    "group_add": groups,
    "domainname": domain,
    "extra_hosts": extra_hosts,
    "dns": resolvers,
    "dns_search": single_words,
    "dns_opt": single_words,
    "annotations": annotated,
    "cgroup_parent": group_path,
    "cgroup": one_of("host", "private"),
    "storage_opt": storage,
    "runtime": runtime_name,
}
# What Compose and Docker write for a limit that is none.
_NONE: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("mem_limit", "cpus", "pids_limit", "cpu_quota"), (0, -1)),
    **dict.fromkeys(("memswap_limit", "mem_reservation", "cpu_shares", "cpu_period", "shm_size"), (0,)),
    **dict.fromkeys(("cpu_rt_period", "cpu_rt_runtime"), (0,)),
    **dict.fromkeys(("cpuset", "cpuset_mems"), ("",)),
    "mem_swappiness": (-1,),
}


def unlimited(parsed: Mapping[str, Any]) -> list[str]:
    """The fields that say that there is no limit."""
    return [key for key, nothing in _NONE.items() if key in parsed and parsed[key] in nothing]


def without_none(parsed: dict[str, Any]) -> None:
    """Takes away what says that there is no limit, as does leaving it out."""
    for key in unlimited(parsed):
        del parsed[key]
    for key in ("ulimits", "sysctls", "blkio_config", "group_add", "extra_hosts", "dns", "dns_search", "dns_opt"):
        if key in parsed and not parsed[key]:
            del parsed[key]


def contradiction(parsed: Mapping[str, Any]) -> tuple[str, str, str]:
    """A field that cannot be with another: its name, why and what to do; ("", "", "") when there is none."""
    memory, both = parsed.get("mem_limit", 0), parsed.get("memswap_limit", 0)
    if both and not memory:
        return "memswap_limit", "counts memory and swap together, and needs mem_limit", "set both"
    if 0 < both < memory:
        return "memswap_limit", "is less than mem_limit", "it counts memory and swap together"
    if memory and parsed.get("mem_reservation", 0) > memory:
        return "mem_reservation", "is more than mem_limit", "it is what the container keeps when memory is short"
    if parsed.get("oom_kill_disable") and not memory:
        return "oom_kill_disable", "needs mem_limit", "without it the host's memory would be used up"
    for key in ("cpu_period", "cpu_quota"):
        if key in parsed and "cpus" in parsed:
            return key, "cannot be used with cpus", "cpus is cpu_quota / cpu_period"
    return "", "", ""
