// What messages say of each other: edits, reactions, threads; and finding them by their words.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

import { story } from "./support/agents.js";
import { refusal } from "./support/device.js";

/** Two agents in a private room of the first, whose device has these options. */
async function pair(cast, options) {
    const [marie, paul] = await Promise.all([cast.agent("marie", options), cast.agent("paul")]);
    const roomId = await marie.device.open({ preset: "private_chat", name: "Bureau" });
    await marie.device.bringIn(roomId, paul.device);
    return { marie, paul, roomId };
}

/** Says a message again in other words. */
async function edit(device, roomId, eventId, body) {
    const { event_id: edited } = await device.client.sendMessage(roomId, {
        msgtype: "m.text",
        body: `* ${body}`,
        "m.new_content": { msgtype: "m.text", body },
        "m.relates_to": { rel_type: "m.replace", event_id: eventId },
    });
    return edited;
}

/** Reacts to a message. */
async function react(device, roomId, eventId, key) {
    const { event_id: reaction } = await device.client.sendEvent(roomId, "m.reaction", {
        "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key },
    });
    return reaction;
}

/** Says something in the thread of a message. */
async function answer(device, roomId, rootId, body) {
    const { event_id: reply } = await device.client.sendMessage(roomId, rootId, { msgtype: "m.text", body });
    return reply;
}

story("an edited message shows its last words, on devices that come later too", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const eventId = await marie.device.say(roomId, "Rendez-vous à midi");
    await edit(marie.device, roomId, eventId, "Rendez-vous à treize heures");
    const last = await edit(marie.device, roomId, eventId, "Rendez-vous à quatorze heures");
    const seen = await paul.device.sees("the last words", () => {
        const event = paul.device.client.getRoom(roomId).findEventById(eventId);
        return event?.replacingEventId() === last && event;
    });
    assert.equal(seen.getContent().body, "Rendez-vous à quatorze heures");
    assert.equal(seen.getOriginalContent().body, "Rendez-vous à midi");

    // What somebody else would have it say counts for nothing.
    await edit(paul.device, roomId, eventId, "Rendez-vous jamais");
    const raw = await paul.device.client.fetchRoomEvent(roomId, eventId);
    const bundled = raw.unsigned["m.relations"]["m.replace"];
    assert.equal(bundled.event_id, last);
    assert.equal(bundled.content["m.new_content"].body, "Rendez-vous à quatorze heures");

    const phone = await (await paul.logIn()).start();
    const later = phone.client.getRoom(roomId).findEventById(eventId);
    assert.equal(later.getContent().body, "Rendez-vous à quatorze heures");
    const { events } = await phone.client.relations(roomId, eventId, "m.replace", "m.room.message");
    assert.equal(events.filter((event) => event.getSender() === marie.userId).length, 2);
});

story("reactions are counted by key, and go when they are taken back", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const eventId = await marie.device.say(roomId, "Le signal passe");
    const tallies = (device) => {
        const { relations } = device.client.getRoom(roomId);
        const found = relations.getChildEventsForEvent(eventId, "m.annotation", "m.reaction");
        const sorted = found?.getSortedAnnotationsByKey() ?? [];
        return Object.fromEntries(sorted.map(([key, events]) => [key, events.size]).filter(([, n]) => n));
    };
    await react(marie.device, roomId, eventId, "👍");
    const hand = await react(paul.device, roomId, eventId, "👍");
    await react(paul.device, roomId, eventId, "🎉");
    await marie.device.sees("the reactions", () => Object.keys(tallies(marie.device)).length === 2);
    assert.deepEqual(tallies(marie.device), { "👍": 2, "🎉": 1 });
    await assert.rejects(react(paul.device, roomId, eventId, "🎉"), refusal(400, "M_DUPLICATE_ANNOTATION"));
    // The SDK would send what failed again, before anything else.
    for (const event of paul.device.client.getRoom(roomId).getPendingEvents()) {
        paul.device.client.cancelPendingEvent(event);
    }

    await paul.device.client.redactEvent(roomId, hand);
    await marie.device.sees("one hand less", () => tallies(marie.device)["👍"] === 1);
    // Taken back, it can be given again.
    await react(paul.device, roomId, eventId, "👍");
    await marie.device.sees("the hand again", () => tallies(marie.device)["👍"] === 2);

    const { events } = await marie.device.client.relations(roomId, eventId, "m.annotation", "m.reaction");
    const keys = events.map((event) => event.getRelation().key).sort();
    assert.deepEqual(keys, ["👍", "👍", "🎉"].sort());
});

story("a thread is beside the room", async (cast) => {
    // Only who reads has a device that knows of threads: the SDK mistakes its own answers in a thread
    // for others' where they come with a sync before they were acknowledged.
    const { marie, paul, roomId } = await pair(cast, { threads: true });
    const rootId = await marie.device.say(roomId, "Où en est la ligne de Lille ?");
    await paul.device.seesEvent(roomId, rootId);
    await answer(paul.device, roomId, rootId, "Trois stations sont prêtes");
    const replyId = await answer(paul.device, roomId, rootId, "Quatre, pardon");
    const after = await paul.device.say(roomId, "Autre chose");
    await marie.device.seesEvent(roomId, after);

    const room = marie.device.client.getRoom(roomId);
    const thread = await marie.device.sees("the thread", () => {
        const found = room.getThread(rootId);
        return found?.length === 2 && found;
    });
    assert.equal(thread.replyToEvent.getId(), replyId);
    // The room itself shows the question and what came after.
    assert.deepEqual(marie.device.texts(roomId), ["Où en est la ligne de Lille ?", "Autre chose"]);
});

story("messages are found by their words, and only by those who may read them", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const zoe = await cast.agent("zoe");
    const word = marie.lastName;
    await marie.device.say(roomId, "Avant");
    const eventId = await marie.device.say(roomId, `Les sémaphores de ${word} sont réparés`);
    await marie.device.say(roomId, "Après");
    for (let number = 0; number < 14; number += 1) await paul.device.say(roomId, `${word} ${number}`);

    const search = (agent, term) =>
        agent.device.client.searchRoomEvents({ term, filter: { rooms: [roomId] } });
    // What was just written is indexed a moment later.
    const end = Date.now() + 30_000;
    let found = await search(paul, word);
    while (found.count < 15 && Date.now() < end) {
        await pause(50);
        found = await search(paul, word);
    }
    assert.equal(found.count, 15);
    assert.equal(found.results.length, 10);
    await paul.device.client.backPaginateRoomEventsSearch(found);
    assert.equal(found.results.length, 15);

    // By its stem and without accents; with what was said before and after.
    const one = await search(paul, `semaphore ${word}`);
    assert.equal(one.count, 1);
    assert.equal(one.results[0].context.getEvent().getId(), eventId);
    const around = one.results[0].context.getTimeline().map((event) => event.getContent().body);
    assert.ok(around.includes("Avant") && around.includes("Après"), around.join());

    const nothing = await zoe.device.client.searchRoomEvents({ term: word });
    assert.equal(nothing.count, 0);
    await marie.device.client.redactEvent(roomId, eventId);
    assert.equal((await search(paul, `semaphore ${word}`)).count, 0);
});
