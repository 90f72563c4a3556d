"""Greets, and writes down each visit."""

import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SETTINGS = tomllib.loads(Path("/etc/app.toml").read_text())
VISITS = Path("/data/visits.log")


class Handler(BaseHTTPRequestHandler):
    """`/up` is the health check, everything else is the page."""

    def do_GET(self) -> None:
        """Answers."""
        if self.path != "/up":
            with VISITS.open("a") as file:
                file.write(f"{self.log_date_time_string()} {self.path}\n")
        body = f"{'up' if self.path == '/up' else SETTINGS['greeting']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
