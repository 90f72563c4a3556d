"""Greets."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page() -> str:
    """The page."""
    return "Hello\n"


@app.get("/up")
def up() -> str:
    """For the health check."""
    return "up\n"
