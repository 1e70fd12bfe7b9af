"""Two people who write encrypted, with matrix-nio and its libolm."""

import asyncio
import hashlib
import io
import json
import os
import random
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import nio
import pytest
from nio.crypto import ENCRYPTION_ENABLED, decrypt_attachment

JS = Path(__file__).resolve().parent.parent / "js"

if not ENCRYPTION_ENABLED and os.environ.get("CI") != "true":
    pytest.skip("there is no python-olm", allow_module_level=True)


async def pair(world):
    """Two people with keys in an encrypted room of the first."""
    ada = await world.person("ada", encrypts=True)
    bob = await world.person("bob", encrypts=True)
    encryption = nio.EnableEncryptionBuilder().as_dict()
    made = await ada.client.room_create(
        preset=nio.RoomPreset.private_chat, initial_state=[encryption]
    )
    assert isinstance(made, nio.RoomCreateResponse), made
    room_id = made.room_id
    await ada.brings_in(room_id, bob)
    for device in (ada, bob):
        room = await device.joined(room_id)
        await device.sees("both members", lambda room=room: len(room.users) == 2)
        assert room.encrypted
        await device.tends_keys()
    return ada, bob, room_id


async def test_two_people_write_encrypted_in_both_directions(world):
    ada, bob, room_id = await pair(world)
    question = await ada.says(room_id, "Did the signal pass?")
    assert (await bob.reads(room_id, question)).body == "Did the signal pass?"
    raw = await bob.asks("GET", f"/v3/rooms/{room_id}/event/{quote(question)}")
    assert raw["type"] == "m.room.encrypted" and "body" not in raw["content"]
    answer = await bob.says(room_id, "It did")
    assert (await ada.reads(room_id, answer)).body == "It did"


async def test_an_encrypted_file_arrives(world):
    ada, bob, room_id = await pair(world)
    plain = random.randbytes(50_000)
    uploaded, keys = await ada.client.upload(
        io.BytesIO(plain), "application/octet-stream", "plan.bin", encrypt=True
    )
    assert isinstance(uploaded, nio.UploadResponse), uploaded
    content = {"msgtype": "m.file", "body": "plan.bin", "file": {"url": uploaded.content_uri, **keys}}
    event_id = await ada.sends(room_id, "m.room.message", content)
    event = await bob.reads(room_id, event_id)
    assert isinstance(event, nio.RoomEncryptedFile), event
    kept = await bob.client.download(event.url)
    assert isinstance(kept, nio.DownloadResponse), kept
    assert hashlib.sha256(kept.body).digest() != hashlib.sha256(plain).digest()
    assert decrypt_attachment(kept.body, event.key["k"], event.hashes["sha256"], event.iv) == plain


async def test_a_device_that_was_away_gets_the_keys_of_what_it_missed(world):
    ada, bob, room_id = await pair(world)
    ids = [await ada.says(room_id, f"message {number}") for number in range(5)]
    # A new session, whose key is sent by itself.
    ada.client.invalidate_outbound_session(room_id)
    ids += [await ada.says(room_id, f"message {number}") for number in range(5, 10)]
    texts = [(await bob.reads(room_id, event_id)).body for event_id in ids]
    assert texts == [f"message {number}" for number in range(10)]


@asynccontextmanager
async def echo(person):
    """Lets a person's session repeat what it is told, with matrix-js-sdk. Gives its lines."""
    if not shutil.which("node") and os.environ.get("CI") != "true":
        pytest.skip("there is no Node")
    client = person.client
    url = os.environ["CHAPPE_OPEN_URL"]
    there = {"CHAPPE_TCHAP_URL": url, "CHAPPE_TCHAP_NAME": "open", "CHAPPE_TCHAP_OUTBOX": "none"}
    program = await asyncio.create_subprocess_exec(
        "node",
        "support/echo.js",
        cwd=JS,
        env=os.environ | there,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    session = {
        "user_id": client.user_id,
        "device_id": client.device_id,
        "access_token": client.access_token,
    }
    program.stdin.write(json.dumps(session).encode() + b"\n")

    async def line():
        return json.loads(await asyncio.wait_for(program.stdout.readline(), 60))

    try:
        assert await line() == {"ready": True}
        yield line
    finally:
        program.stdin.close()
        await program.wait()


async def test_matrix_js_sdk_reads_what_nio_writes_and_the_other_way_round(world):
    ada = await world.person("ada", encrypts=True)
    jo = await world.person("jo")
    async with echo(jo) as line:
        encryption = nio.EnableEncryptionBuilder().as_dict()
        made = await ada.client.room_create(
            preset=nio.RoomPreset.private_chat, initial_state=[encryption], invite=[jo.user_id]
        )
        assert isinstance(made, nio.RoomCreateResponse), made
        room_id = made.room_id
        room = await ada.joined(room_id)
        await ada.sees("Jo in the room", lambda: jo.user_id in room.users and not room.invited_users)
        await ada.tends_keys()
        for text in ("Did the signal pass?", "Réponds ✅"):
            question = await ada.says(room_id, text)
            answer = (await line())["event_id"]
            for event_id in (question, answer):
                raw = await jo.asks("GET", f"/v3/rooms/{room_id}/event/{quote(event_id)}")
                assert raw["type"] == "m.room.encrypted" and "body" not in raw["content"]
            assert (await ada.reads(room_id, answer)).body == f"You said: {text}"
