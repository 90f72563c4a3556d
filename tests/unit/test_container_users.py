"""Who USER means in an image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.container.users import LAST_ID, Identity, resolve
from stackpy_runtime.errors import InvalidConfig

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken\nbig:x:70000:1::/:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\naudio:x:29:app,other\nvideo:x:44:other,app\nbad:x:nan:app\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", Identity(0, 0, (0,), "/root")),
        ("root", Identity(0, 0, (0,), "/root")),
        ("app", Identity(1000, 1001, (1001, 29, 44), "/home/app")),
        ("1000", Identity(1000, 1001, (1001, 29, 44), "/home/app")),
        ("app:audio", Identity(1000, 29, (29,), "/home/app")),
        ("1000:44", Identity(1000, 44, (44,), "/home/app")),
        ("4242", Identity(4242, 0, (0,), "/")),
        (":44", Identity(0, 44, (44,), "/root")),
        ("4242:4343", Identity(4242, 4343, (4343,), "/")),
    ],
)
def test_resolve(spec: str, expected: Identity) -> None:
    assert resolve(spec, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody", "no user `nobody` in the image's /etc/passwd"),
        ("app:nogroup", "no group `nogroup` in the image's /etc/group"),
        ("65536", "user ID 65536 is outside 0…65535"),
        ("2147483648", "user ID 2147483648 is outside 0…65535"),
        ("4294967296", "user ID 4294967296 is outside 0…65535"),
        ("0:4294967296", "group ID 4294967296 is outside 0…65535"),
        ("big", "user `big` has no usable ID in the image's /etc/passwd"),
    ],
)
def test_refused(spec: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        resolve(spec, PASSWD, GROUP)
    assert str(caught.value) == message


@given(st.text(max_size=30), st.text(max_size=200), st.text(max_size=200))
def test_whatever_an_image_says_an_identity_is_inside_the_range(spec: str, passwd: str, group: str) -> None:
    try:
        identity = resolve(spec, passwd, group)
    except InvalidConfig:
        return
    assert all(0 <= number <= LAST_ID for number in (identity.user, identity.group, *identity.groups))


def test_the_primary_group_is_among_the_supplementary_ones() -> None:
    # CVE-2022-36109: a set-group-id program leaves it, and would be allowed what is denied to that group.
    assert resolve("1000:44", PASSWD, GROUP, ("audio",)).groups == (44, 29)
