"""Processes of the server, and people who use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
from pathlib import Path

from bucket import BUCKET, CHAPPE, REGION, Bucket
from processes import Answer, Process, ask, free_port, until, variable

NAME = "s3.example.org"
PASSWORD = "Grand-9-Semaphore!"
PREFIX = "of/chappe"


class Server:
    """One process of the server, whose media are in the bucket."""

    def __init__(self, name: str, folder: Path, bucket: Bucket, keys: str, like=None) -> None:
        """`keys` are the lines with the access key; `like` is a process with the same database."""
        self.port = free_port()
        self.folder = folder / name
        self.folder.mkdir()
        # The user that runs PostgreSQL must be able to pass.
        self.folder.chmod(0o711)
        if like:
            shutil.copy(like.folder / "signing.key", self.folder / "signing.key")
        self.config = folder / f"{name}.toml"
        self.config.write_text(
            f"""
[server]
name = "{NAME}"
public_url = "http://127.0.0.1:{self.port}"
profile = "open"
data_folder = "{self.folder}"

[database]
{database(like)}

[[listeners]]
address = "127.0.0.1:{self.port}"
serves = ["client", "health"]

[registration]
open = true

[limits]
enabled = false

[media]
max_upload_size = "24MiB"

[media.s3]
bucket = "{BUCKET}"
endpoint = "http://127.0.0.1:{bucket.port}/"
region = "{REGION}"
prefix = "{PREFIX}"
timeout = "2s"
{keys}

# Deletes messages as soon as it may.
[rooms.retention]
purge = "always"
shortest = "1m"
interval = "1m"
"""
        )
        command = [variable("CHAPPE_BIN"), "serve", "--config", str(self.config)]
        self.process = Process(name, command, folder)
        until(f"{name} is ready", self.is_ready, 120)

    def is_ready(self) -> bool:
        self.process.check()
        try:
            return ask(self.port, "GET", "/health/ready").status == 200
        except OSError:
            return False

    def make_admin(self, name: str) -> "Person":
        command = [variable("CHAPPE_BIN"), "user", "create", name, "--admin", "--config", str(self.config)]
        subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, stdout=subprocess.DEVNULL)
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": PASSWORD,
        }
        return Person(self.port, Person(self.port, {}).succeeds("POST", "/v3/login", body))

    def register(self, name: str) -> "Person":
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        stranger = Person(self.port, {})
        answer = stranger.asks("POST", "/v3/register", body)
        if answer.status == 401:
            body["auth"]["session"] = json.loads(answer.body)["session"]
            answer = stranger.asks("POST", "/v3/register", body)
        assert answer.status == 200, answer.body
        return Person(self.port, json.loads(answer.body))


def database(like: Server | None) -> str:
    """The line that names the database: that of the runner, or the private one of the first process."""
    if os.environ.get("CHAPPE_S3_DATABASE"):
        return os.environ["CHAPPE_S3_DATABASE"]
    if not like:
        return ""
    socket = urllib.parse.quote(str(like.folder / "postgresql" / "socket"), safe="")
    return f'url = "postgres://chappe@localhost:5432/chappe?host={socket}&sslmode=disable"'


def with_key(key: str = CHAPPE[1]) -> str:
    return f'access_key_id = "{CHAPPE[0]}"\nsecret_access_key = "{key}"'


class Person:
    """Somebody with a session."""

    def __init__(self, port: int, session: dict) -> None:
        self.port = port
        self.session = session

    @property
    def user_id(self) -> str:
        return self.session["user_id"]

    def at(self, server: Server) -> "Person":
        """The same session, at another process."""
        return Person(server.port, self.session)

    def asks(self, method: str, path: str, body=None, headers=None) -> Answer:
        """Asks for a path below /_matrix/client, or one that begins with /_."""
        headers = dict(headers or {})
        if "access_token" in self.session:
            headers["authorization"] = f"Bearer {self.session['access_token']}"
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        path = path if path.startswith("/_") else f"/_matrix/client{path}"
        return ask(self.port, method, path, body, headers)

    def succeeds(self, method: str, path: str, body=None, headers=None) -> dict:
        answer = self.asks(method, path, body, headers)
        assert answer.status == 200, (answer.status, answer.body)
        return json.loads(answer.body)

    def tries_to_upload(self, content, kind: str = "application/octet-stream") -> Answer:
        return self.asks("POST", "/_matrix/media/v3/upload", content, {"content-type": kind})

    def uploads(self, content, kind: str = "application/octet-stream") -> str:
        """Gives the server and the id, as paths have them."""
        answer = self.tries_to_upload(content, kind)
        assert answer.status == 200, (answer.status, answer.body)
        return json.loads(answer.body)["content_uri"][len("mxc://") :]

    def downloads(self, media: str, headers=None) -> Answer:
        return self.asks("GET", f"/v1/media/download/{media}", headers=headers)

    def deletes(self, media: str) -> None:
        """As an administrator."""
        self.succeeds("DELETE", f"/_synapse/admin/v1/media/{media}")
