"""A guestbook: everyone may write, everyone may read."""

import os
from pathlib import Path

from database import connect
from flask import Flask, flash, redirect, render_template, request, url_for

MOST_SHOWN = 50

app = Flask(__name__)
app.secret_key = Path(os.environ["SESSION_KEY_FILE"]).read_text().strip()


@app.get("/")
def page():
    """The newest entries and the form."""
    with connect() as connection:
        entries = connection.execute(
            "select author, text, written from entries order by id desc limit %s", (MOST_SHOWN,)
        ).fetchall()
    return render_template("page.html", entries=entries)


@app.post("/")
def write():
    """Keeps an entry."""
    author, text = request.form.get("author", "").strip()[:100], request.form.get("text", "").strip()[:2000]
    if not author or not text:
        flash("A name and a text, please.")
        return redirect(url_for("page"), code=303)
    with connect() as connection:
        connection.execute("insert into entries (author, text) values (%s, %s)", (author, text))
    return redirect(url_for("page"), code=303)


@app.get("/up")
def up():
    """For the health check: the database answers."""
    with connect() as connection:
        connection.execute("select 1")
    return "up\n"
