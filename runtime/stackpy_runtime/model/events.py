"""What an engine tells of as it happens."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Actor(TypedDict):
    """What an event is about."""

    ID: str  # a volume's name
    Attributes: dict[str, str]  # name, image, labels, and what the action has: exitCode, signal, oldName, …


class Event(TypedDict):
    """Something that has happened, in the shape and the words of Docker's events."""

    Type: str  # container, image, network, volume
    Action: str  # create, start, die, …, "health_status: healthy", "exec_start: true"
    Actor: Actor
    scope: str  # local
    time: int  # seconds since the epoch
    timeNano: int
    boot: NotRequired[str]  # in the file alone: the boot's ID, and how long it had lasted
    bootNano: NotRequired[int]
