"""What stands for something outside: image references, URLs, git repositories, ports, signals. Their grammar alone."""

from __future__ import annotations

from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.patterns import pattern
from stackpy_runtime.records import NamedTuple

# The grammar of github.com/distribution/reference, normalised names.
_DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN}(?:\.{_DOMAIN})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = pattern(
    rf"(?:{_HOST}/)?{_PATH}(?:/{_PATH})*(?::[\w][\w.-]{{0,127}})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*"
    rf":[0-9a-fA-F]{{32,}})?",
    ascii_only=True,
)
_HEX_ID = pattern(r"[a-f0-9]{64}")

_SCP = pattern(r"[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:(?!//)[^?#]*(?:\?[^#]*)?(?:#.*)?", dot_all=True)
_URL = pattern(r"([a-z]+)://[^/?#]*([^?#]*)(?:\?([^#]*))?(?:#(.*))?", dot_all=True, ignore_case=True)
_COMMIT = pattern(r"[0-9a-f]{7,64}")
_SWITCHES = ("keep-git-dir", "submodules", "fetch-by-commit")

SIGNALS = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV STKFLT STOP SYS "
    "TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ"
).split()
_PORTS = pattern(r"(\d{1,5})(?:-(\d{1,5}))?", ascii_only=True)
_REAL_TIME = pattern(r"RTM(?:IN\+|AX-)(\d{1,2})")


def is_reference(text: str) -> bool:
    """Whether a text can be the name of an image."""
    return bool(_REFERENCE.fullmatch(text)) and not _HEX_ID.fullmatch(text) and len(text) <= 512


class Git(NamedTuple):
    """A git source of ADD.

    address: repository with `#ref:subfolder` where those are given
    commit_times: files get the time of the commit, instead of that of the checkout
    """

    address: str
    checksum: str
    keep_git_dir: bool | None
    submodules: bool = True
    commit_times: bool = False


def is_url(source: str) -> bool:
    """Whether ADD downloads it as a file."""
    return source.startswith(("http://", "https://")) and not is_git(source)


def is_git(source: str) -> bool:
    """Whether a source is a git repository: ssh and git addresses, and those of HTTP whose path ends with `.git`."""
    if source.startswith(("./", "../")):
        return False
    found = _URL.fullmatch(source)
    if found:
        scheme = found[1].lower()
        return scheme in ("git", "ssh") or (scheme in ("http", "https") and found[2].endswith(".git"))
    return bool(_SCP.fullmatch(source))


def git(source: str) -> Git:
    """A git source with what its query says; raises BadSyntax."""
    before, _, fragment = source.partition("#")
    remote, _, query = before.partition("?")
    ref, _, folder = fragment.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name in options:
            raise BadSyntax(f"`{name}` stands twice in the address of the repository", "keep one of them")
        options[name] = value
    known = ["ref", "tag", "branch", "subdir", "checksum", "commit", *_SWITCHES, "mtime"]
    for name in options:
        if name not in known:
            raise BadSyntax(f"the address of a repository cannot say `{name}`", meant(name, known))
        if not options[name] and name not in _SWITCHES:
            raise BadSyntax(f"`{name}` has no value in the address of the repository", f"write `{name}=…`")
    switches = {name: _switch(name, options[name]) for name in _SWITCHES if name in options}
    times = options.get("mtime", "checkout")
    if times not in ("checkout", "commit"):
        raise BadSyntax(f"`mtime` of a repository cannot be `{times}`", "it is `checkout` or `commit`")
    refs = [ref] if ref else []
    refs += [options["ref"]] if "ref" in options else []
    for name, beginning in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if name in options:
            refs.append(beginning + options[name].removeprefix(beginning))
    folders = [each for each in (folder, options.get("subdir", "")) if each]
    if len(set(refs)) > 1 or len(set(folders)) > 1:
        raise BadSyntax("the address of the repository contradicts itself", "say ref and folder once")
    address = remote
    if refs or folders:
        address += f"#{refs[0] if refs else ''}" + (f":{folders[0]}" if folders else "")
    checksum = options.get("checksum") or options.get("commit", "")
    # A commit is always asked for by itself first, so that `fetch-by-commit` changes nothing.
    return Git(
        address,
        checksum,
        switches.get("keep-git-dir"),
        switches.get("submodules", True),
        commit_times=times == "commit",
    )


def _switch(name: str, text: str) -> bool:
    """What an option of an address says; without a value it is on. Go's strconv.ParseBool."""
    if text in ("", "1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BadSyntax(f"`{name}` of a repository cannot be `{text}`", "it is `true` or `false`")


def checksum(text: str, *, of_git: bool) -> None:
    """Raises BadSyntax when `--checksum` cannot be met by any content."""
    if of_git:
        if not _COMMIT.fullmatch(text):
            raise BadSyntax(f"`{text}` is no commit of a git repository", "expected its hash, in full")
        return
    name, _, digits = text.partition(":")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}.get(name, 0)
    if not pattern(rf"[a-f0-9]{{{length or 1}}}").fullmatch(digits) or not length:
        raise BadSyntax(f"`{text}` is no checksum", "expected `sha256:` and 64 hexadecimal digits")


def is_signal(text: str) -> bool:
    """Whether a text names a signal of Linux: SIGTERM, TERM, 15, SIGRTMIN+3."""
    if text.isascii() and text.isdigit():
        return 0 < int(text[:4]) <= 64
    name = text.upper().removeprefix("SIG")
    real_time = _REAL_TIME.fullmatch(name)
    return name in SIGNALS or bool(real_time and int(real_time[1]) <= 30)


class Ports(NamedTuple):
    """What one word of EXPOSE means: `80/tcp` for each port of it.

    mapped: it says an address or a port of the host as well, which has no effect
    cased: its protocol is not in lower case
    """

    ports: list[str]
    mapped: bool
    cased: bool


def ports(word: str) -> Ports:
    """Reads `[address:][published:]port[-port][/protocol]`; raises BadSyntax."""
    *host, own = word.rsplit(":", 2)
    numbers, slash, protocol = own.partition("/")
    if protocol.lower() not in ("tcp", "udp", "sctp") and (slash or protocol) and protocol:
        raise BadSyntax(f"`{protocol}` is no protocol", meant(protocol, ["tcp", "udp", "sctp"]))
    span = _range(numbers)
    published = _range(host[-1]) if host and host[-1] else (0, 0)
    if span is None or published is None:
        raise BadSyntax(f"`{word}` is no port", "expected a number up to 65535, or a range such as 8000-8010")
    low = (protocol or "tcp").lower()
    listed = [f"{port}/{low}" for port in range(span[0], span[1] + 1)]
    return Ports(listed, any(host), protocol != protocol.lower())


def _range(text: str) -> tuple[int, int] | None:
    found = _PORTS.fullmatch(text)
    if not found:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    return (first, last) if first <= last <= 65535 else None
