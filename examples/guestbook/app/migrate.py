"""Brings the schema up to date; every step runs once, in order, in one transaction."""

from database import connect

STEPS = (
    "create table entries (id bigserial primary key, author text not null, text text not null)",
    "alter table entries add column written timestamptz not null default now()",
)


def main() -> None:
    """Runs the steps that this database has not seen."""
    with connect() as connection:
        connection.execute("select pg_advisory_xact_lock(1)")  # one migration at a time
        connection.execute("create table if not exists migrations (step int primary key)")
        done = connection.execute("select count(*) from migrations").fetchone()[0]
        for number, statement in enumerate(STEPS[done:], done):
            print(f"step {number + 1}: {statement}", flush=True)
            connection.execute(statement)
            connection.execute("insert into migrations values (%s)", (number,))
    print(f"{len(STEPS)} steps, {done} of them done before", flush=True)


main()
