"""The version of stackpy, where `importlib.metadata` would cost 29 ms: clients and supervisor compare theirs."""

VERSION = "0.1.0"
