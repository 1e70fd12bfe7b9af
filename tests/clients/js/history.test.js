// The order of messages, and the way back through them.

import "./support/quiet.js";

import assert from "node:assert/strict";

import { ClientEvent } from "matrix-js-sdk";

import { story } from "./support/agents.js";

const COUNT = 60;
const numbered = (name, count) => Array.from({ length: count }, (_, at) => `${name} ${at}`);

/** Pages back to the beginning of a room, and gives all its events, oldest first. */
async function everything(device, roomId) {
    const room = device.client.getRoom(roomId);
    const timeline = room.getLiveTimeline();
    for (let more = true; more; ) {
        more = await device.client.paginateEventTimeline(timeline, { backwards: true, limit: 17 });
    }
    return timeline.getEvents();
}

const bodies = (events) =>
    events.filter((event) => event.getType() === "m.room.message").map((e) => e.getContent().body);

story("everybody sees the messages in one order, then and afterwards", async (cast) => {
    const agents = await Promise.all(["marie", "paul", "zoe"].map((name) => cast.agent(name)));
    const [marie, ...others] = agents;
    const roomId = await marie.device.open({ preset: "private_chat" });
    for (const other of others) await marie.device.bringIn(roomId, other.device);

    // What comes in their syncs, in the order in which it comes.
    const heard = agents.map(({ device }) => {
        const texts = [];
        device.client.on(ClientEvent.Event, (event) => {
            if (event.getType() === "m.room.message") texts.push(event.getContent().body);
        });
        return texts;
    });

    // All three speak at the same time.
    const speak = async ({ device, firstName }) => {
        for (const text of numbered(firstName, COUNT / 3)) await device.say(roomId, text);
    };
    await Promise.all(agents.map(speak));
    for (const [at, { device }] of agents.entries()) {
        await device.sees("all messages", () => heard[at].length >= COUNT);
    }

    // A device that logs in now gets the end, and pages back to the beginning.
    const phone = await (await marie.logIn()).start({ initialSyncLimit: 10 });
    assert.ok(phone.texts(roomId).length <= 10);
    const events = await everything(phone, roomId);
    assert.equal(events[0].getType(), "m.room.create");
    const history = bodies(events);
    assert.equal(history.length, COUNT);
    assert.equal(new Set(history).size, COUNT);
    for (const { firstName } of agents) {
        const own = history.filter((text) => text.startsWith(firstName));
        assert.deepEqual(own, numbered(firstName, COUNT / 3));
    }
    for (const texts of heard) assert.deepEqual(texts, history);
});

story("a device that was away for long finds what it missed", async (cast) => {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    const roomId = await marie.device.open({ preset: "private_chat" });
    await marie.device.bringIn(roomId, paul.device);
    const before = await marie.device.say(roomId, "avant");
    await paul.device.seesEvent(roomId, before);
    const { client } = paul.device;
    const since = client.store.getSyncToken();
    paul.device.stop();

    const missed = numbered("message", COUNT);
    for (const text of missed) await marie.device.say(roomId, text);

    // The next sync with the old token says that it is cut, and where to page back from.
    const answer = await client.http.authedRequest("GET", "/sync", { since, timeout: "0" });
    const { timeline } = answer.rooms.join[roomId];
    assert.equal(timeline.limited, true);
    const found = timeline.events.map((event) => event.content.body);
    assert.deepEqual(found, missed.slice(-found.length));
    let from = timeline.prev_batch;
    while (!found.includes("avant")) {
        const { chunk, end } = await client.createMessagesRequest(roomId, from, 17, "b");
        assert.ok(chunk.length > 0);
        found.unshift(...chunk.reverse().map((event) => event.content.body));
        from = end;
    }
    assert.deepEqual(found.slice(found.indexOf("avant")), ["avant", ...missed]);
});

story("history can be read forwards, and around an event", async (cast) => {
    const marie = await cast.agent("marie");
    const { client } = marie.device;
    const roomId = await marie.device.open({ preset: "private_chat" });
    const texts = numbered("message", 30);
    const ids = [];
    for (const text of texts) ids.push(await marie.device.say(roomId, text));

    const found = [];
    let from;
    do {
        const query = { dir: "f", limit: "7", ...(from && { from }) };
        const path = `/rooms/${encodeURIComponent(roomId)}/messages`;
        const page = await client.http.authedRequest("GET", path, query);
        found.push(...page.chunk);
        from = page.end;
    } while (from);
    assert.equal(found[0].type, "m.room.create");
    const said = found.filter((event) => event.type === "m.room.message");
    assert.deepEqual(said.map((event) => event.content.body), texts);

    // A link to a message: the client asks for what is around it.
    const phone = await (await marie.logIn()).start({ initialSyncLimit: 5 });
    const set = phone.client.getRoom(roomId).getUnfilteredTimelineSet();
    const timeline = await phone.client.getEventTimeline(set, ids[10]);
    const around = bodies(timeline.getEvents());
    const first = texts.indexOf(around[0]);
    assert.ok(around.includes(texts[10]) && around.includes(texts[9]) && around.includes(texts[11]));
    assert.deepEqual(around, texts.slice(first, first + around.length));
});

story("a newcomer reads back as far as the room allows", async (cast) => {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    for (const [visibility, expected] of [
        ["shared", ["avant", "invité", "après"]],
        ["invited", ["invité", "après"]],
        ["joined", ["après"]],
    ]) {
        const roomId = await marie.device.open({
            preset: "private_chat",
            initial_state: [
                {
                    type: "m.room.history_visibility",
                    state_key: "",
                    content: { history_visibility: visibility },
                },
            ],
        });
        await marie.device.say(roomId, "avant");
        await marie.device.client.invite(roomId, paul.userId);
        await paul.device.seesMembership(roomId, "invite");
        await marie.device.say(roomId, "invité");
        await paul.device.client.joinRoom(roomId);
        await paul.device.seesMembership(roomId, "join");
        const last = await marie.device.say(roomId, "après");
        await paul.device.seesEvent(roomId, last);
        assert.deepEqual(bodies(await everything(paul.device, roomId)), expected, visibility);
    }
});
