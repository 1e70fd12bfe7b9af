"""Clients for the tests: each is one device, driven by matrix-nio."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time

import nio
import pytest_asyncio

PASSWORD = "Grand-9-Semaphore!"

# How long a client may take to see something, in seconds.
PATIENCE = 30


def variable(name: str) -> str:
    """A variable that the runner, tests/clients/run, sets."""
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f"{name} is not set: start these tests with tests/clients/run")
    return value


class Device:
    """A client, and ways to say and to see things with it."""

    def __init__(self, user: str = "", store: str = "") -> None:
        """With a folder for its keys the device encrypts."""
        config = nio.AsyncClientConfig(encryption_enabled=bool(store), store_sync_tokens=False)
        self.client = nio.AsyncClient(
            variable("CHAPPE_OPEN_URL"), user, store_path=store, config=config
        )
        # The rooms that the user has left, which nio does not keep account of.
        self.left: set[str] = set()

    @property
    def user_id(self) -> str:
        return self.client.user_id

    async def sees(self, what, check):
        """Syncs until `check` gives something, and gives that."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            seen = check()
            if seen:
                return seen
            # With the token of the last sync, or without one the first time.
            answer = await self.client.sync(timeout=5_000)
            assert isinstance(answer, nio.SyncResponse), answer
            self.left |= set(answer.rooms.leave)
            self.left -= set(answer.rooms.join)
            if self.client.olm:
                await self.tends_keys()
        raise AssertionError(f"{self.user_id} did not see {what} within {PATIENCE} s")

    async def tends_keys(self) -> None:
        """What nio's own loop does between two syncs."""
        client = self.client
        if client.should_upload_keys:
            answer = await client.keys_upload()
            assert isinstance(answer, nio.KeysUploadResponse), answer
        if client.should_query_keys:
            answer = await client.keys_query()
            assert isinstance(answer, nio.KeysQueryResponse), answer
        if client.should_claim_keys:
            answer = await client.keys_claim(client.get_users_for_key_claiming())
            assert isinstance(answer, nio.KeysClaimResponse), answer
        await client.send_to_device_messages()

    async def reads(self, room_id: str, event_id: str) -> nio.RoomMessage:
        """An encrypted message, once there is the key that it takes."""
        for _ in range(PATIENCE):
            answer = await self.client.room_get_event(room_id, event_id)
            assert isinstance(answer, nio.RoomGetEventResponse), answer
            event = answer.event
            # nio decrypts what it can.
            if not isinstance(event, nio.MegolmEvent):
                assert event.decrypted, event
                return event
            await self.client.sync(timeout=1_000)
            await self.tends_keys()
        raise AssertionError(f"{self.user_id} cannot read {event_id}")

    async def joined(self, room_id: str) -> nio.MatrixRoom:
        return await self.sees("the room", lambda: self.client.rooms.get(room_id))

    async def says(self, room_id: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        return await self.sends(room_id, "m.room.message", content)

    async def sends(self, room_id: str, kind: str, content: dict) -> str:
        answer = await self.client.room_send(
            room_id, kind, content, ignore_unverified_devices=True
        )
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    async def asks(self, method: str, path: str, body: dict | None = None) -> dict:
        """What nio has no method for."""
        token = {"Authorization": f"Bearer {self.client.access_token}"}
        data = None if body is None else json.dumps(body)
        answer = await self.client.send(method, f"/_matrix/client{path}", data, token)
        assert answer.status == 200, await answer.text()
        return await answer.json()

    async def brings_in(self, room_id: str, guest: "Device") -> None:
        answer = await self.client.room_invite(room_id, guest.user_id)
        assert isinstance(answer, nio.RoomInviteResponse), answer
        await guest.sees("the invitation", lambda: room_id in guest.client.invited_rooms)
        answer = await guest.client.join(room_id)
        assert isinstance(answer, nio.JoinResponse), answer
        await guest.joined(room_id)


@pytest_asyncio.fixture
async def world(tmp_path_factory):
    """Makes people and their devices; closes all of them at the end."""
    devices: list[Device] = []

    class World:
        async def person(self, name: str, encrypts: bool = False) -> Device:
            """Somebody with a new account."""
            device = Device(store=str(tmp_path_factory.mktemp(name)) if encrypts else "")
            devices.append(device)
            username = f"{name}-{secrets.token_hex(4)}"
            answer = await device.client.register(username, PASSWORD, "first device")
            assert isinstance(answer, nio.RegisterResponse), answer
            return device

        async def device_of(self, person: Device) -> Device:
            """Another device of the same person."""
            device = Device(person.user_id)
            devices.append(device)
            answer = await device.client.login(PASSWORD, "another device")
            assert isinstance(answer, nio.LoginResponse), answer
            return device

    yield World()
    await asyncio.gather(*(device.client.close() for device in devices))
