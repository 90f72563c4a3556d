"""The least of /etc that programs expect. Accounts are made up here: the host's are nobody's business."""

from __future__ import annotations

import os

from stackpy_runtime.image.loader import CacheEntry, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.image.gathering import Tree

_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = b"""root:x:0:
tty:x:5:
nogroup:x:65534:
"""
_NSSWITCH = b"""passwd: files
group: files
hosts: files dns
networks: files
protocols: files
services: files
"""
# Certificates of authorities, by distribution: Debian and Alpine, Fedora, openSUSE.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_PUBLIC = ("/etc/protocols", "/etc/services", "/etc/localtime", "/etc/os-release", "/etc/ssl/openssl.cnf")


def add_etc(tree: Tree, cache: list[CacheEntry], bundles: set[str]) -> None:
    """Adds accounts, name services, the loader's cache and certificates.

    cache: the entries of ld.so.cache whose libraries are in the tree, in their order
    bundles: files in which programs of the tree look for certificates
    """
    tree.text("/etc/passwd", _PASSWD)
    tree.text("/etc/group", _GROUP)
    tree.text("/etc/nsswitch.conf", _NSSWITCH)
    for name in ("hostname", "hosts", "resolv.conf"):
        # Empty: the engine puts a container's own in their place, and a read-only image must have the place.
        tree.text(f"/etc/{name}", b"")
    for path in _PUBLIC:
        tree.add_if_there(path)
    if cache:
        tree.text("/etc/ld.so.cache", write_cache(cache))
        _add_loader_configuration(tree)
    present = next((path for path in _BUNDLES if tree.add_if_there(path)), None)
    for path in sorted(bundles):
        if present and not tree.add_if_there(path) and os.path.isabs(path):
            tree.link(path, present)


def _add_loader_configuration(tree: Tree) -> None:
    """For an ldconfig that is run in the image later."""
    if tree.add_if_there("/etc/ld.so.conf") and os.path.isdir("/etc/ld.so.conf.d"):
        for name in sorted(os.listdir("/etc/ld.so.conf.d")):
            if name.endswith(".conf"):
                tree.add_if_there(f"/etc/ld.so.conf.d/{name}")
