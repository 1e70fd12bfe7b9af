"""A store that speaks S3, and what is in its bucket."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import urllib.parse
import xml.etree.ElementTree as xml
from pathlib import Path

from processes import Answer, Process, ask, free_port, until, variable

BUCKET = "media"
REGION = "eu-west-3"

# Who may do everything, and who may do what the server needs.
OWNER = ("owner", "the-owner-s-secret-key")
CHAPPE = ("chappe", "the-server-s-secret-key")


class Bucket:
    """The store, with one bucket. It keeps what is in it when it is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        rights = [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")]
        identities = [
            identity("owner", OWNER, ["Admin", "Read", "Write", "List"]),
            identity("chappe", CHAPPE, rights),
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        self.port = free_port()
        self.process: Process | None = None
        names = ("master", "volume", "filer")
        self.ports = {name: free_port() for name in names}
        self.grpc = {name: free_port() for name in (*names, "s3")}
        self.start()
        made = self.ask("PUT", "")
        assert made.status == 200, made.body

    def start(self) -> None:
        """Starts it, and waits until it takes what is written."""
        command = [
            variable("CHAPPE_S3_SERVER"),
            "-logtostderr=true",
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-master.electionTimeout=1s",
            "-volume.max=40",
            "-filer",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3",
            f"-s3.port={self.port}",
            f"-s3.config={self.folder / 's3.json'}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        command += [f"-{name}.port={port}" for name, port in self.ports.items()]
        command += [f"-{name}.port.grpc={port}" for name, port in self.grpc.items()]
        self.process = Process("store", command, self.folder.parent, cwd=self.folder)
        until("the store is ready", self.is_ready)

    def is_ready(self) -> bool:
        self.process.check()
        try:
            return self.ask("GET", "", bucket="").status == 200 and self.can_assign()
        except OSError:
            return False

    def can_assign(self) -> bool:
        """Whether there is a place for what is written: the disks are known a moment later."""
        answer = ask(self.ports["master"], "GET", "/dir/assign")
        return answer.status == 200 and b'"fid"' in answer.body

    def kill(self) -> None:
        self.process.kill()

    def keys(self) -> list[str]:
        """The names of all objects."""
        answer = self.ask("GET", "", {"list-type": "2", "max-keys": "1000"})
        assert answer.status == 200, answer.body
        return sorted(texts(answer, "Contents", "Key"))

    def broken_off(self) -> list[str]:
        """The names of the objects of which only parts are there."""
        answer = self.ask("GET", "", {"uploads": ""})
        assert answer.status == 200, answer.body
        return texts(answer, "Upload", "Key")

    def head(self, key: str) -> Answer:
        return self.ask("HEAD", key)

    def ask(self, method: str, key: str, query=None, bucket: str = BUCKET) -> Answer:
        """Asks as the owner of the bucket."""
        path = urllib.parse.quote(f"/{bucket}/{key}" if key else f"/{bucket}")
        text = urllib.parse.urlencode(sorted((query or {}).items()), quote_via=urllib.parse.quote)
        headers = signed(method, f"127.0.0.1:{self.port}", path, text)
        return ask(self.port, method, f"{path}?{text}" if text else path, headers=headers)


def identity(name: str, keys: tuple[str, str], rights: list[str]) -> dict:
    credentials = [{"accessKey": keys[0], "secretKey": keys[1]}]
    return {"name": name, "credentials": credentials, "actions": rights}


def texts(answer: Answer, parent: str, child: str) -> list[str]:
    """The texts of elements of an answer, whatever its namespace."""
    root = xml.fromstring(answer.body)
    return [
        found.text
        for element in root.iter()
        if element.tag.rpartition("}")[2] == parent
        for found in element
        if found.tag.rpartition("}")[2] == child
    ]


def signed(method: str, host: str, path: str, query: str) -> dict[str, str]:
    """The headers of a request without a body, signed as version 4 of Amazon's signatures has it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": time}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, path, query, lines, names, empty])
    scope = f"{day}/{REGION}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, digest])
    key = f"AWS4{OWNER[1]}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={OWNER[0]}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers
