"""Greets, and says how many visits the counter has seen."""

import socket
import tomllib
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SETTINGS = tomllib.loads(Path("/etc/web.toml").read_text())
TOKEN = Path("/run/secrets/token").read_text().strip()


def count_visit() -> str:
    """Asks the counter, which is reached by its name on the internal network."""
    request = urllib.request.Request(SETTINGS["counter"], headers={"Authorization": f"Bearer {TOKEN}"}, method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


class Handler(BaseHTTPRequestHandler):
    """`/up` for the health check, everything else is the page."""

    def do_GET(self) -> None:
        """Answers."""
        text = (
            "up" if self.path == "/up" else f"{SETTINGS['greeting']} from {socket.gethostname()}, visit {count_visit()}"
        )
        body = f"{text}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, template: str, *args: object) -> None:
        """One line on stdout for each visit; health checks are not worth one."""
        if self.path != "/up":
            print(self.address_string(), template % args, flush=True)


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
