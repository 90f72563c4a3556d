"""Counts, for those who have the token; the number lies in a volume and outlives the containers."""

import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = Path("/run/secrets/token").read_text().strip()
STATE = Path("/var/lib/counter/visits")
ONE_AT_A_TIME = threading.Lock()


def count() -> int:
    """One more, written aside and renamed so that a crash never leaves half a number."""
    with ONE_AT_A_TIME:
        visits = int(STATE.read_text()) + 1 if STATE.exists() else 1
        aside = STATE.with_suffix(".new")
        aside.write_text(str(visits))
        aside.replace(STATE)
        return visits


class Handler(BaseHTTPRequestHandler):
    """POST /count."""

    def do_POST(self) -> None:
        """Answers with the new number, or 403."""
        allowed = hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {TOKEN}")
        body = str(count()).encode() if allowed else b"no"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, template: str, *args: object) -> None:
        """One line on stdout."""
        print(self.address_string(), template % args, flush=True)


ThreadingHTTPServer(("", 7000), Handler).serve_forever()
