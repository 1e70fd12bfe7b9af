"""Media in a store that speaks S3: a real one, which checks signatures, can be killed, and keeps what
it was given."""

from __future__ import annotations

import http.client
import json
import random
import struct
import threading
import time
import unittest
import urllib.parse
import zlib
from pathlib import Path

from bucket import CHAPPE, Bucket
from processes import until, variable
from server import PREFIX, Person, Server, with_key

MIB = 1 << 20

# How long bytes that nobody has any more may be there: a moment, or, where the store was away, until
# it is asked again.
SOON = 15
AGAIN = 90

# How long it may take until a message is gone that may be a minute old.
RETENTION = 240


class Here:
    """What all tests share."""

    folder: Path
    bucket: Bucket
    first: Server
    second: Server
    anna: Person
    admin: Person
    # A file that a message names, which is deleted within minutes, and its object.
    said: str
    object_of_said: str = ""


def setUpModule() -> None:
    Here.folder = Path(variable("CHAPPE_S3_FOLDER"))
    Here.bucket = Bucket(Here.folder / "store")
    unittest.addModuleCleanup(Here.bucket.kill)
    folder = Here.folder
    Here.first = Server("first", folder, Here.bucket, with_key())
    unittest.addModuleCleanup(Here.first.process.stop)
    secret = folder / "secret"
    secret.write_text(f"{CHAPPE[1]}\n")
    secret.chmod(0o600)
    keys = f'access_key_id = "{CHAPPE[0]}"\nsecret_access_key_file = "{secret}"'
    Here.second = Server("second", folder, Here.bucket, keys, like=Here.first)
    unittest.addModuleCleanup(Here.second.process.stop)
    Here.anna = Here.first.register("anna")
    Here.admin = Here.first.make_admin("admin")
    Here.said = Here.anna.uploads(b"said once", "text/plain")
    Here.object_of_said = only_new([])
    room = Here.anna.succeeds("POST", "/v3/createRoom", {"preset": "private_chat"})
    room_id = urllib.parse.quote(room["room_id"])
    state = f"/v3/rooms/{room_id}/state/m.room.retention"
    Here.anna.succeeds("PUT", state, {"max_lifetime": 60_000})
    message = {"msgtype": "m.file", "body": "a file", "url": f"mxc://{Here.said}"}
    Here.anna.succeeds("PUT", f"/v3/rooms/{room_id}/send/m.room.message/1", message)
    Here.anna.succeeds(
        "PUT", f"/v3/rooms/{room_id}/send/m.room.message/2", {"msgtype": "m.text", "body": "last"}
    )


def objects() -> list[str]:
    """The objects in the bucket, but for the one that goes by itself."""
    return [key for key in Here.bucket.keys() if key != Here.object_of_said]


def only_new(before: list[str]) -> str:
    """The one object that is there since."""
    new = set(objects()) - set(before)
    assert len(new) == 1, new
    return new.pop()


def noise(size: int, seed: int) -> bytes:
    """Bytes that nobody else uploads."""
    return random.Random(seed).randbytes(size)


def in_chunks(content: bytes, size: int = 1 << 16):
    for at in range(0, len(content), size):
        yield content[at : at + size]


def picture(width: int, height: int, seed: int) -> bytes:
    """A PNG of stripes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    rows = b"".join(b"\0" + bytes([(y + seed) % 256, y % 256, 128]) * width for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


class MediaInS3(unittest.TestCase):
    def setUp(self) -> None:
        # Nothing of another test is still to be deleted.
        self.before = self.settled()
        self.broken = Here.bucket.broken_off()

    def settled(self) -> list[str]:
        """The objects, once there are no more than a moment ago."""
        seen: list[list[str]] = []

        def same() -> bool:
            seen.append(objects())
            return len(seen) > 15 and all(keys == seen[-1] for keys in seen[-15:])

        until("nothing is deleted any more", same, 60)
        return seen[-1]

    def until_objects(self, expected: list[str], patience: float = SOON) -> None:
        until(f"{expected} alone", lambda: objects() == sorted(expected), patience)

    def test_a_file_is_one_object_and_is_had_whole_and_in_parts(self) -> None:
        content = b"0123456789" * 100
        media = Here.anna.uploads(content, "text/plain")
        key = only_new(self.before)
        self.assertTrue(key.startswith(f"{PREFIX}/"), key)
        self.assertEqual(Here.bucket.ask("GET", key).body, content)
        whole = Here.anna.downloads(media)
        self.assertEqual((whole.status, whole.body), (200, content))
        self.assertEqual(whole.headers["content-type"], "text/plain")
        for asked, expected, said in [
            ("bytes=2-5", content[2:6], "bytes 2-5/1000"),
            ("bytes=990-", content[990:], "bytes 990-999/1000"),
            ("bytes=-7", content[-7:], "bytes 993-999/1000"),
            ("bytes=995-2000", content[995:], "bytes 995-999/1000"),
        ]:
            part = Here.anna.downloads(media, {"range": asked})
            self.assertEqual((part.status, part.body), (206, expected), asked)
            self.assertEqual(part.headers["content-range"], said)
        none = Here.anna.downloads(media, {"range": "bytes=1000-"})
        self.assertEqual(none.status, 416)

    def test_an_empty_file_is_kept_too(self) -> None:
        media = Here.anna.uploads(b"", "text/plain")
        found = Here.anna.downloads(media)
        self.assertEqual((found.status, found.body), (200, b""))

    def test_a_large_file_goes_in_parts_and_comes_back_as_it_was(self) -> None:
        # Its last part is a short one; another file has none.
        for size in (20 * MIB + 17, 10 * MIB):
            content = noise(size, size)
            before = objects()
            media = Here.anna.uploads(in_chunks(content))
            key = only_new(before)
            head = Here.bucket.head(key)
            self.assertEqual(int(head.headers["content-length"]), size)
            # What the store says of an object that was put together from parts.
            self.assertIn("-", head.headers["etag"])
            self.assertTrue(Here.anna.downloads(media).body == content)
            # Across two parts.
            asked = {"range": f"bytes={5 * MIB - 3}-{5 * MIB + 3}"}
            part = Here.anna.downloads(media, asked)
            self.assertEqual(part.status, 206)
            self.assertEqual(part.body, content[5 * MIB - 3 : 5 * MIB + 4])
        self.assertEqual(Here.bucket.broken_off(), self.broken)

    def test_a_file_that_is_too_large_leaves_nothing(self) -> None:
        # It shows only after many parts.
        answer = Here.anna.tries_to_upload(in_chunks(noise(25 * MIB, 2)))
        self.assertEqual(answer.status, 413)
        self.assertEqual(json.loads(answer.body)["errcode"], "M_TOO_LARGE")
        self.until_objects(self.before)
        self.assertEqual(Here.bucket.broken_off(), self.broken)

    def test_an_upload_that_breaks_off_leaves_nothing(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", Here.first.port, timeout=60)
        connection.putrequest("POST", "/_matrix/media/v3/upload")
        connection.putheader("authorization", f"Bearer {Here.anna.session['access_token']}")
        connection.putheader("content-length", str(20 * MIB))
        connection.endheaders()
        connection.send(noise(12 * MIB, 3))
        until("a part is there", lambda: Here.bucket.broken_off() != self.broken)
        connection.close()
        until("it is given up", lambda: Here.bucket.broken_off() == self.broken, SOON)
        self.until_objects(self.before)

    def test_the_same_bytes_are_one_object_whoever_uploads_them(self) -> None:
        content = noise(6 * MIB, 4)
        first = Here.anna.uploads(content)
        key = only_new(self.before)
        second = Here.second.register("bert").uploads(content)
        third = Here.anna.uploads(content)
        self.assertEqual(len({first, second, third}), 3)
        self.until_objects([*self.before, key])
        for media in (first, second, third):
            self.assertTrue(Here.anna.downloads(media).body == content)
        # It stays as long as anybody has it.
        Here.admin.deletes(first)
        Here.admin.deletes(third)
        self.until_objects([*self.before, key])
        self.assertEqual(Here.anna.downloads(first).status, 404)
        self.assertTrue(Here.anna.downloads(second).body == content)
        Here.admin.deletes(second)
        self.until_objects(self.before)

    def test_bytes_may_come_later_and_another_process_waits_for_them(self) -> None:
        created = Here.anna.succeeds("POST", "/_matrix/media/v1/create", {})
        media = created["content_uri"][len("mxc://") :]
        early = Here.anna.asks("GET", f"/v1/media/download/{media}?timeout_ms=0")
        self.assertEqual(early.status, 504)
        self.assertEqual(json.loads(early.body)["errcode"], "M_NOT_YET_UPLOADED")
        self.assertEqual(objects(), self.before)
        found = []
        there = Here.anna.at(Here.second)
        wait = f"/v1/media/download/{media}?timeout_ms=20000"
        waiter = threading.Thread(target=lambda: found.append(there.asks("GET", wait)))
        waiter.start()
        content = noise(7 * MIB, 5)
        path = f"/_matrix/media/v3/upload/{media}"
        Here.anna.succeeds("PUT", path, in_chunks(content))
        waiter.join()
        self.assertEqual(found[0].status, 200)
        self.assertTrue(found[0].body == content)
        again = Here.anna.asks("PUT", path, b"other")
        self.assertEqual(again.status, 409)

    def test_a_thumbnail_is_an_object_and_goes_with_its_picture(self) -> None:
        media = Here.anna.uploads(picture(900, 600, 1), "image/png")
        path = f"/v1/media/thumbnail/{media}?width=320&height=240&method=scale"
        made = Here.anna.asks("GET", path)
        self.assertEqual((made.status, made.headers["content-type"]), (200, "image/jpeg"))
        # Height and width, where a JPEG has them.
        frame = made.body.index(b"\xff\xc0")
        self.assertEqual(struct.unpack(">HH", made.body[frame + 5 : frame + 9]), (213, 320))
        self.assertEqual(len(objects()), len(self.before) + 2)
        # The other process has it from the bucket.
        found = Here.anna.at(Here.second).asks("GET", path)
        self.assertEqual((found.status, found.body), (200, made.body))
        self.assertEqual(len(objects()), len(self.before) + 2)
        Here.admin.deletes(media)
        self.until_objects(self.before)

    def test_every_process_reads_what_another_wrote(self) -> None:
        for writer, reader in [(Here.first, Here.second), (Here.second, Here.first)]:
            content = noise(3 * MIB, writer.port)
            media = Here.anna.at(writer).uploads(content)
            found = Here.anna.at(reader).downloads(media)
            self.assertTrue(found.body == content)
            Here.admin.at(reader).deletes(media)
            self.assertEqual(Here.anna.at(writer).downloads(media).status, 404)
        self.until_objects(self.before)

    def test_what_is_withdrawn_stays_in_the_bucket_and_can_be_given_back(self) -> None:
        media = Here.anna.uploads(b"withdrawn", "text/plain")
        key = only_new(self.before)
        act = "/_synapse/admin/v1/media"
        Here.admin.succeeds("POST", f"{act}/quarantine/{media}", {})
        for server in (Here.first, Here.second):
            self.assertEqual(Here.anna.at(server).downloads(media).status, 404)
        self.assertIn(key, objects())
        Here.admin.succeeds("POST", f"{act}/unquarantine/{media}", {})
        self.assertEqual(Here.anna.downloads(media).body, b"withdrawn")
        Here.admin.deletes(media)
        self.until_objects(self.before)

    def test_what_an_administrator_deletes_goes_from_the_bucket(self) -> None:
        carl = Here.second.register("carl")
        for number in range(5):
            carl.uploads(noise(1000, 10 + number))
        self.assertEqual(len(objects()), len(self.before) + 5)
        path = f"/_synapse/admin/v1/users/{urllib.parse.quote(carl.user_id)}/media"
        deleted = Here.admin.succeeds("DELETE", path)
        self.assertEqual(deleted["total"], 5)
        self.until_objects(self.before)

    def test_with_a_wrong_key_nothing_is_written_and_nothing_read(self) -> None:
        media = Here.anna.uploads(b"only with the key", "text/plain")
        key = only_new(self.before)
        keys = with_key("a-wrong-key-that-is-long-enough")
        third = Server("third", Here.folder, Here.bucket, keys, like=Here.first)
        try:
            anna = Here.anna.at(third)
            for content in (b"small", noise(6 * MIB, 6)):
                answer = anna.tries_to_upload(content)
                self.assertEqual(answer.status, 500)
                self.assertEqual(json.loads(answer.body)["errcode"], "M_UNKNOWN")
            self.assertEqual(anna.downloads(media).status, 500)
            log = third.process.log_file.read_text()
            self.assertNotIn("a-wrong-key-that-is-long-enough", log)
            # Deleted here, it is deleted by those who can.
            Here.admin.at(third).deletes(media)
            self.assertEqual(anna.downloads(media).status, 404)
        finally:
            third.process.stop()
        self.until_objects(self.before, AGAIN)
        self.assertNotIn(key, objects())

    def test_while_the_store_is_away_uploads_fail_and_nothing_is_lost(self) -> None:
        kept = Here.anna.uploads(noise(2 * MIB, 7))
        gone = Here.anna.uploads(noise(6 * MIB, 8))
        large = Here.anna.uploads(noise(20 * MIB, 9))
        # Downloads and uploads that are under way when it goes.
        downloading = http.client.HTTPConnection("127.0.0.1", Here.first.port, timeout=60)
        authorized = {"authorization": f"Bearer {Here.anna.session['access_token']}"}
        downloading.request("GET", f"/_matrix/client/v1/media/download/{large}", headers=authorized)
        download = downloading.getresponse()
        self.assertEqual(download.status, 200)
        uploading = http.client.HTTPConnection("127.0.0.1", Here.first.port, timeout=60)
        uploading.putrequest("POST", "/_matrix/media/v3/upload")
        uploading.putheader("authorization", authorized["authorization"])
        uploading.putheader("content-length", str(20 * MIB))
        uploading.endheaders()
        rest = noise(20 * MIB, 11)
        uploading.send(rest[: 6 * MIB])
        until("a part is there", lambda: Here.bucket.broken_off() != self.broken)
        Here.bucket.kill()
        self.addCleanup(Here.bucket.start)
        began = time.monotonic()
        # What is there already says that it is not whole.
        with self.assertRaises((http.client.IncompleteRead, OSError)):
            download.read()
        downloading.close()
        uploading.send(rest[6 * MIB :])
        self.assertEqual(uploading.getresponse().status, 500)
        uploading.close()
        for content in (b"small", noise(12 * MIB, 12)):
            answer = Here.anna.tries_to_upload(content)
            self.assertEqual(answer.status, 500)
            self.assertEqual(json.loads(answer.body)["errcode"], "M_UNKNOWN")
        self.assertEqual(Here.anna.downloads(kept).status, 500)
        self.assertLess(time.monotonic() - began, 60)
        # Nothing else waits for it.
        self.assertEqual(Here.anna.asks("GET", "/v3/sync?timeout=0").status, 200)
        Here.admin.deletes(gone)
        self.assertEqual(Here.anna.downloads(gone).status, 404)

        self.doCleanups()
        self.assertTrue(Here.anna.downloads(kept).body == noise(2 * MIB, 7))
        self.assertTrue(Here.anna.downloads(large).body == noise(20 * MIB, 9))
        again = Here.anna.uploads(b"small", "text/plain")
        self.assertEqual(Here.anna.at(Here.second).downloads(again).body, b"small")
        # What was deleted meanwhile goes, and so does what did not come whole.
        until(
            "all is deleted",
            lambda: len(objects()) == len(self.before) + 3,
            AGAIN,
        )

    def test_what_a_message_named_goes_with_it(self) -> None:
        until(
            "the message is gone, and its file",
            lambda: Here.object_of_said not in Here.bucket.keys(),
            RETENTION,
        )
        self.assertEqual(Here.anna.downloads(Here.said).status, 404)
