"""A story on a server with the open profile, told by matrix-nio."""

import asyncio
import secrets

import nio
from nio.responses import PublicRoomsResponse, RegisterErrorResponse

from conftest import PASSWORD


async def test_a_person_registers_and_logs_in_on_another_device(world):
    person = await world.person("ada")
    assert person.user_id.startswith("@ada-")
    device = await world.device_of(person)
    assert device.user_id == person.user_id
    assert device.client.device_id != person.client.device_id

    me = await device.client.whoami()
    assert isinstance(me, nio.WhoamiResponse), me
    assert (me.user_id, me.device_id) == (person.user_id, device.client.device_id)


async def test_a_taken_name_and_a_wrong_password_are_refused(world):
    person = await world.person("ada")
    localpart = person.user_id[1:].split(":")[0]
    stranger = await world.person("bob")
    answer = await stranger.client.register(localpart, PASSWORD)
    assert isinstance(answer, RegisterErrorResponse)
    assert answer.status_code == "M_USER_IN_USE"

    client = nio.AsyncClient(person.client.homeserver, person.user_id)
    answer = await client.login("not the password")
    await client.close()
    assert isinstance(answer, nio.LoginError)
    assert answer.status_code == "M_FORBIDDEN"


async def test_two_people_talk_in_a_running_sync_loop(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    made = await ada.client.room_create(name="Salon", topic="Machines", preset=nio.RoomPreset.private_chat)
    assert isinstance(made, nio.RoomCreateResponse), made
    room_id = made.room_id
    await ada.brings_in(room_id, bob)
    await ada.joined(room_id)

    heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(room, event):
        if room.room_id == room_id and event.sender == ada.user_id:
            await heard.put(event.body)

    bob.client.add_event_callback(on_message, nio.RoomMessageText)
    loop = asyncio.create_task(bob.client.sync_forever(timeout=10_000))
    try:
        for number in range(10):
            await ada.says(room_id, f"message {number}")
        for number in range(10):
            assert await asyncio.wait_for(heard.get(), 30) == f"message {number}"
    finally:
        bob.client.stop_sync_forever()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    room = bob.client.rooms[room_id]
    assert (room.name, room.topic) == ("Salon", "Machines")
    assert set(room.users) == {ada.user_id, bob.user_id}


async def test_typing_receipts_and_unread_counts(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    await ada.brings_in(room_id, bob)
    ada_room, bob_room = await ada.joined(room_id), await bob.joined(room_id)

    answer = await bob.client.room_typing(room_id, True, timeout=20_000)
    assert isinstance(answer, nio.RoomTypingResponse), answer
    await ada.sees("typing", lambda: bob.user_id in ada_room.typing_users)
    await bob.client.room_typing(room_id, False)
    await ada.sees("the end of typing", lambda: bob.user_id not in ada_room.typing_users)

    event_id = ""
    for number in range(3):
        event_id = await ada.says(room_id, f"message {number}")
    await bob.sees("three unread messages", lambda: bob_room.unread_notifications == 3)
    answer = await bob.client.room_read_markers(room_id, event_id, event_id)
    assert isinstance(answer, nio.RoomReadMarkersResponse), answer
    await bob.sees("nothing unread", lambda: bob_room.unread_notifications == 0)
    await bob.sees("the marker", lambda: bob_room.fully_read_marker == event_id)

    def receipt():
        found = ada_room.read_receipts.get(bob.user_id)
        return found and found.event_id == event_id

    await ada.sees("the receipt", receipt)


async def test_history_is_paged_both_ways_and_a_redacted_message_is_empty(world):
    ada = await world.person("ada")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    ids = [await ada.says(room_id, f"message {number}") for number in range(25)]
    answer = await ada.client.room_redact(room_id, ids[3], reason="a mistake")
    assert isinstance(answer, nio.RoomRedactResponse), answer

    device = await world.device_of(ada)
    await device.joined(room_id)
    expected = [f"message {number}" for number in range(25)]
    expected[3] = None

    async def pages(start, direction):
        found = []
        while True:
            page = await device.client.room_messages(room_id, start, direction=direction, limit=8)
            assert isinstance(page, nio.RoomMessagesResponse), page
            found += page.chunk
            if not page.end:
                return found
            start = page.end

    def texts(events):
        kinds = (nio.RoomMessageText, nio.RedactedEvent)
        return [getattr(event, "body", None) for event in events if isinstance(event, kinds)]

    backward = await pages(device.client.next_batch, nio.MessageDirection.back)
    assert isinstance(backward[-1], nio.RoomCreateEvent)
    assert texts(reversed(backward)) == expected
    forward = await pages(None, nio.MessageDirection.front)
    assert [event.event_id for event in forward] == [event.event_id for event in reversed(backward)]

    event = await device.client.room_get_event(room_id, ids[3])
    assert isinstance(event.event, nio.RedactedEvent), event
    assert event.event.reason == "a mistake"
    context = await device.client.room_context(room_id, ids[10], limit=4)
    assert isinstance(context, nio.RoomContextResponse), context
    assert context.event.event_id == ids[10]
    assert [event.event_id for event in context.events_after] == ids[11:13]
    assert [event.event_id for event in context.events_before] == [ids[9], ids[8]]


async def test_a_public_room_is_found_and_joined_by_its_alias(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    word = f"salon-{secrets.token_hex(4)}"
    made = await ada.client.room_create(
        visibility=nio.RoomVisibility.public,
        preset=nio.RoomPreset.public_chat,
        alias=word,
        name=word,
    )
    assert isinstance(made, nio.RoomCreateResponse), made
    alias = f"#{word}:{ada.user_id.split(':', 1)[1]}"
    found = await bob.client.room_resolve_alias(alias)
    assert isinstance(found, nio.RoomResolveAliasResponse), found
    assert found.room_id == made.room_id
    listed = await bob.client.list_public_rooms(filter_generic_search_term=word)
    assert isinstance(listed, PublicRoomsResponse), listed
    assert [room.canonical_alias for room in listed.public_rooms] == [alias]

    answer = await bob.client.join(alias)
    assert isinstance(answer, nio.JoinResponse), answer
    assert answer.room_id == made.room_id
    rooms = await bob.client.joined_rooms()
    assert made.room_id in rooms.rooms
    members = await bob.client.joined_members(made.room_id)
    assert {member.user_id for member in members.members} == {ada.user_id, bob.user_id}
    visibility = await bob.client.room_get_visibility(made.room_id)
    assert visibility.visibility == "public"


async def test_members_are_kicked_banned_and_let_in_again(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    await ada.brings_in(room_id, bob)
    assert isinstance(await ada.client.room_kick(room_id, bob.user_id), nio.RoomKickResponse)
    await bob.sees("the kick", lambda: room_id in bob.left)
    assert isinstance(await ada.client.room_ban(room_id, bob.user_id, "no"), nio.RoomBanResponse)
    answer = await bob.client.join(room_id)
    assert isinstance(answer, nio.JoinError)
    assert answer.status_code == "M_FORBIDDEN"
    assert isinstance(await ada.client.room_unban(room_id, bob.user_id), nio.RoomUnbanResponse)
    await ada.brings_in(room_id, bob)
    assert isinstance(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
    assert isinstance(await bob.client.room_forget(room_id), nio.RoomForgetResponse)


async def test_state_is_set_and_read(world):
    ada = await world.person("ada")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    room = await ada.joined(room_id)
    answer = await ada.client.room_put_state(room_id, "m.room.name", {"name": "Salon"})
    assert isinstance(answer, nio.RoomPutStateResponse), answer
    await ada.sees("the name", lambda: room.name == "Salon")
    answer = await ada.client.room_get_state_event(room_id, "m.room.name")
    assert answer.content == {"name": "Salon"}
    answer = await ada.client.room_get_state(room_id)
    assert isinstance(answer, nio.RoomGetStateResponse), answer
    kinds = {event["type"] for event in answer.events}
    assert {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.name"} <= kinds


async def test_a_profile_is_set_and_read(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    answer = await ada.client.set_displayname("Ada L.")
    assert isinstance(answer, nio.ProfileSetDisplayNameResponse), answer
    answer = await ada.client.set_avatar("mxc://open.example.org/portrait")
    assert isinstance(answer, nio.ProfileSetAvatarResponse), answer
    profile = await bob.client.get_profile(ada.user_id)
    assert isinstance(profile, nio.ProfileGetResponse), profile
    assert (profile.displayname, profile.avatar_url) == ("Ada L.", "mxc://open.example.org/portrait")
    assert (await bob.client.get_displayname(ada.user_id)).displayname == "Ada L."


async def test_a_device_is_renamed_and_deleted_with_the_password(world):
    ada = await world.person("ada")
    phone = await world.device_of(ada)
    device_id = phone.client.device_id
    await ada.client.update_device(device_id, {"display_name": "lost phone"})
    devices = (await ada.client.devices()).devices
    assert {device.display_name for device in devices} == {"first device", "lost phone"}

    asked = await ada.client.delete_devices([device_id])
    assert isinstance(asked, nio.DeleteDevicesAuthResponse), asked
    proof = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": ada.user_id},
        "password": PASSWORD,
        "session": asked.session,
    }
    answer = await ada.client.delete_devices([device_id], proof)
    assert isinstance(answer, nio.DeleteDevicesResponse), answer
    devices = (await ada.client.devices()).devices
    assert [device.id for device in devices] == [ada.client.device_id]
    assert isinstance(await phone.client.whoami(), nio.WhoamiError)


async def test_logging_out_ends_the_session(world):
    ada = await world.person("ada")
    phone = await world.device_of(ada)
    token = phone.client.access_token
    assert isinstance(await phone.client.logout(), nio.LogoutResponse)
    phone.client.access_token = token
    answer = await phone.client.whoami()
    assert isinstance(answer, nio.WhoamiError), answer
    assert isinstance(await ada.client.whoami(), nio.WhoamiResponse)


async def test_somebody_knocks_and_is_let_in(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    answer = await bob.client.room_knock(room_id)
    assert isinstance(answer, nio.RoomKnockError), answer
    assert answer.status_code == "M_FORBIDDEN"
    answer = await ada.client.room_enable_knocking(room_id)
    assert isinstance(answer, nio.RoomPutStateResponse), answer
    answer = await bob.client.room_knock(room_id, "Good morning")
    assert isinstance(answer, nio.RoomKnockResponse), answer
    answer = await ada.client.room_get_state_event(room_id, "m.room.member", bob.user_id)
    assert answer.content["membership"] == "knock"
    assert answer.content["reason"] == "Good morning"
    await ada.brings_in(room_id, bob)


async def test_a_room_is_replaced_and_stays_in_its_space(world):
    ada, bob = await world.person("ada"), await world.person("bob")
    server = ada.user_id.split(":", 1)[1]
    made = await ada.client.room_create(space=True, name="Town", preset=nio.RoomPreset.public_chat)
    space = made.room_id
    made = await ada.client.room_create(name="Square", preset=nio.RoomPreset.public_chat)
    old = made.room_id
    child = {"via": [server]}
    answer = await ada.client.room_put_state(space, "m.space.child", child, old)
    assert isinstance(answer, nio.RoomPutStateResponse), answer
    answer = await bob.client.join(old)
    assert isinstance(answer, nio.JoinResponse), answer

    async def rooms():
        answer = await bob.client.space_get_hierarchy(space)
        assert isinstance(answer, nio.SpaceGetHierarchyResponse), answer
        return [room["room_id"] for room in answer.rooms]

    assert await rooms() == [space, old]
    # nio replaces rooms by itself; this is the server's way.
    path = f"/_matrix/client/v3/rooms/{old}/upgrade"
    token = {"Authorization": f"Bearer {ada.client.access_token}"}
    body = '{"new_version": "12"}'
    answer = await ada.client.send("POST", path, body, token)
    assert answer.status == 200, await answer.text()
    new = (await answer.json())["replacement_room"]
    assert await rooms() == [space, new]
    answer = await bob.client.room_get_state_event(old, "m.room.tombstone")
    assert answer.content["replacement_room"] == new
    answer = await bob.client.join(new)
    assert isinstance(answer, nio.JoinResponse), answer
    room = await bob.joined(new)
    await bob.sees("the name", lambda: room.name == "Square")
