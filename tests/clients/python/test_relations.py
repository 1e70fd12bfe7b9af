"""What messages say of each other, and finding them, told by matrix-nio."""

import asyncio
import secrets
from urllib.parse import quote

import nio


async def pair(world):
    """Two people in a room of the first."""
    ada, bob = await world.person("ada"), await world.person("bob")
    room_id = (await ada.client.room_create(preset=nio.RoomPreset.private_chat)).room_id
    await ada.brings_in(room_id, bob)
    await ada.joined(room_id)
    return ada, bob, room_id


async def relations(device, room_id, event_id, kind):
    path = f"/v1/rooms/{room_id}/relations/{quote(event_id)}/{kind}"
    return (await device.asks("GET", path))["chunk"]


async def test_an_edit_is_told_with_the_message(world):
    ada, bob, room_id = await pair(world)
    event_id = await ada.says(room_id, "noon")
    content = {
        "msgtype": "m.text",
        "body": "* one o'clock",
        "m.new_content": {"msgtype": "m.text", "body": "one o'clock"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }
    edit = await ada.sends(room_id, "m.room.message", content)
    heard = []
    bob.client.add_event_callback(lambda _, event: heard.append(event), nio.RoomMessageText)
    await bob.sees("the edit", lambda: any(event.event_id == edit for event in heard))
    event = (await bob.client.room_get_event(room_id, event_id)).event
    bundled = event.source["unsigned"]["m.relations"]["m.replace"]
    assert bundled["content"]["m.new_content"]["body"] == "one o'clock"
    assert [event["event_id"] for event in await relations(bob, room_id, event_id, "m.replace")] == [edit]


async def test_reactions_come_and_go(world):
    ada, bob, room_id = await pair(world)
    event_id = await ada.says(room_id, "It works")
    content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}}
    reaction = await bob.sends(room_id, "m.reaction", content)
    heard = []
    ada.client.add_event_callback(lambda _, event: heard.append(event), nio.ReactionEvent)
    await ada.sees("the reaction", lambda: heard)
    assert (heard[0].reacts_to, heard[0].key) == (event_id, "👍")
    again = await bob.client.room_send(room_id, "m.reaction", content)
    assert isinstance(again, nio.RoomSendError), again
    assert again.status_code == "M_DUPLICATE_ANNOTATION"
    answer = await bob.client.room_redact(room_id, reaction)
    assert isinstance(answer, nio.RoomRedactResponse), answer
    assert await relations(ada, room_id, event_id, "m.annotation") == []
    await bob.sends(room_id, "m.reaction", content)
    assert len(await relations(ada, room_id, event_id, "m.annotation")) == 1


async def test_a_thread_is_listed_with_its_last_answer(world):
    ada, bob, room_id = await pair(world)
    root = await ada.says(room_id, "Where are we?")
    answers = []
    for number in range(3):
        relation = {"rel_type": "m.thread", "event_id": root}
        content = {"msgtype": "m.text", "body": f"answer {number}", "m.relates_to": relation}
        answers.append(await bob.sends(room_id, "m.room.message", content))
    threads = (await ada.asks("GET", f"/v1/rooms/{room_id}/threads"))["chunk"]
    assert [event["event_id"] for event in threads] == [root]
    summary = threads[0]["unsigned"]["m.relations"]["m.thread"]
    assert (summary["count"], summary["latest_event"]["event_id"]) == (3, answers[-1])
    found = await relations(ada, room_id, root, "m.thread")
    assert [event["event_id"] for event in found] == answers[::-1]


async def test_a_message_is_found_by_its_words(world):
    ada, bob, room_id = await pair(world)
    word = "".join(secrets.choice("abcdefghij") for _ in range(12))
    event_id = await ada.says(room_id, f"The towers of {word} are seen from afar")

    async def search(device):
        criteria = {"search_term": f"tower {word}", "keys": ["content.body"]}
        body = {"search_categories": {"room_events": criteria}}
        answer = await device.asks("POST", "/v3/search", body)
        return answer["search_categories"]["room_events"]

    # What was just written is indexed a moment later.
    async def found():
        while not (results := (await search(bob))["results"]):
            await asyncio.sleep(0.05)
        return results

    results = await asyncio.wait_for(found(), 30)
    assert [result["result"]["event_id"] for result in results] == [event_id]
    stranger = await world.person("eve")
    assert (await search(stranger))["count"] == 0
