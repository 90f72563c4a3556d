"""The one way to the database: libpq's PG* variables say where, a secret's file says the password."""

import os
from pathlib import Path

import psycopg


def connect() -> psycopg.Connection:
    """A new connection; rows come as tuples."""
    return psycopg.connect(password=Path(os.environ["PASSWORD_FILE"]).read_text().strip(), connect_timeout=5)
