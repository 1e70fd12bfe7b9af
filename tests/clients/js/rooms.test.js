// Two agents in their rooms: what one does, the other sees.

import "./support/quiet.js";

import assert from "node:assert/strict";

import { ClientEvent, EventType, NotificationCountType, ReceiptType } from "matrix-js-sdk";

import { story } from "./support/agents.js";
import { refusal } from "./support/device.js";
import { server } from "./support/server.js";

const unread = (device, roomId) =>
    device.client.getRoom(roomId).getRoomUnreadNotificationCount(NotificationCountType.Total);
const mentions = (device, roomId) =>
    device.client.getRoom(roomId).getRoomUnreadNotificationCount(NotificationCountType.Highlight);

/** Two agents in a private room of the first. */
async function pair(cast, options = {}) {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    const roomId = await marie.device.open({ preset: "private_chat", name: "Bureau", ...options });
    await marie.device.bringIn(roomId, paul.device);
    return { marie, paul, roomId };
}

story("two agents talk in a private room", async (cast) => {
    const { marie, paul, roomId } = await pair(cast, { topic: "Lignes et tours" });
    const room = paul.device.client.getRoom(roomId);
    assert.equal(room.name, "Bureau");
    assert.equal(room.getJoinRule(), "invite");
    assert.equal(room.currentState.getStateEvents("m.room.topic", "").getContent().topic, "Lignes et tours");
    assert.equal(room.getJoinedMemberCount(), 2);

    const question = await marie.device.say(roomId, "Le signal est-il passé ?");
    await paul.device.seesEvent(roomId, question);
    const answer = await paul.device.say(roomId, "Oui, à 14 h ✅");
    await marie.device.seesEvent(roomId, answer);
    await paul.device.seesEvent(roomId, answer);

    const expected = ["Le signal est-il passé ?", "Oui, à 14 h ✅"];
    for (const device of [marie.device, paul.device]) {
        assert.deepEqual(device.texts(roomId), expected);
        // What the device sent itself stands there once: the server told it which request it was.
        const ids = device.client.getRoom(roomId).getLiveTimeline().getEvents().map((e) => e.getId());
        assert.equal(new Set(ids).size, ids.length);
    }
});

story("what one device sends, the other devices of its user see", async (cast) => {
    const { marie, roomId } = await pair(cast);
    const phone = await (await marie.logIn()).start();
    const eventId = await marie.device.say(roomId, "Depuis le bureau");
    const event = await phone.seesEvent(roomId, eventId);
    assert.equal(event.getSender(), marie.userId);
    assert.equal(event.getUnsigned().transaction_id, undefined);
});

story("a device knows its own messages again when they come back", async (cast) => {
    const { marie, roomId } = await pair(cast);
    const unknown = [];
    marie.device.client.on(ClientEvent.Event, (event) => {
        const isOwn = event.getSender() === marie.userId && event.getType() === "m.room.message";
        if (isOwn && !event.getUnsigned().transaction_id) unknown.push(event.getContent().body);
    });
    let last;
    for (let at = 0; at < 30; at++) last = await marie.device.say(roomId, `message ${at}`);
    await marie.device.seesEvent(roomId, last);
    assert.deepEqual(unknown, []);
});

story("the same transaction is sent once", async (cast) => {
    const { marie, roomId } = await pair(cast);
    const send = () =>
        marie.device.client.http.authedRequest(
            "PUT",
            `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/the-same`,
            undefined,
            { msgtype: "m.text", body: "Une fois" },
        );
    const [first, second] = [await send(), await send()];
    assert.equal(first.event_id, second.event_id);
    await marie.device.seesEvent(roomId, first.event_id);
    assert.deepEqual(marie.device.texts(roomId), ["Une fois"]);
});

story("typing is seen, and ends", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    await paul.device.client.sendTyping(roomId, true, 20_000);
    const typing = () => marie.device.client.getRoom(roomId).getMember(paul.userId)?.typing;
    await marie.device.sees("Paul typing", typing);
    await paul.device.client.sendTyping(roomId, false, 0);
    await marie.device.sees("the end of Paul's typing", () => !typing());
});

story("unread counts go up with messages and down with receipts", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    let last;
    for (const text of ["un", "deux", "trois"]) last = await marie.device.say(roomId, text);
    const event = await paul.device.seesEvent(roomId, last);
    await paul.device.sees("three unread messages", () => unread(paul.device, roomId) === 3);
    assert.equal(mentions(paul.device, roomId), 0);

    const { event_id: call } = await marie.device.client.sendEvent(roomId, EventType.RoomMessage, {
        msgtype: "m.text",
        body: `${paul.userId}: un avis ?`,
        "m.mentions": { user_ids: [paul.userId] },
    });
    const mention = await paul.device.seesEvent(roomId, call);
    await paul.device.sees("a mention", () => mentions(paul.device, roomId) === 1);

    // A device that logs in now counts the same.
    const phone = await (await paul.logIn()).start();
    assert.equal(unread(phone, roomId), 4);
    assert.equal(mentions(phone, roomId), 1);

    await paul.device.client.sendReadReceipt(event);
    await phone.sees("one unread message", () => unread(phone, roomId) === 1);
    await marie.device.sees("Paul's receipt", () =>
        marie.device.client.getRoom(roomId).hasUserReadEvent(paul.userId, last),
    );
    await paul.device.client.sendReadReceipt(mention);
    await phone.sees("nothing unread", () => unread(phone, roomId) === 0);
    assert.equal(mentions(phone, roomId), 0);
    assert.equal(unread(marie.device, roomId), 0);
});

story("a private receipt is nobody else's affair", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const first = await marie.device.say(roomId, "un");
    const event = await paul.device.seesEvent(roomId, first);
    const phone = await (await paul.logIn()).start();
    assert.equal(unread(phone, roomId), 1);
    await paul.device.client.sendReadReceipt(event, ReceiptType.ReadPrivate);
    await phone.sees("nothing unread", () => unread(phone, roomId) === 0);

    // What comes after the receipt has come after it for Marie too.
    const later = await paul.device.say(roomId, "deux");
    await marie.device.seesEvent(roomId, later);
    const receipts = marie.device.client.getRoom(roomId).getReceiptsForEvent(
        marie.device.client.getRoom(roomId).findEventById(first),
    );
    assert.ok(!receipts.some((receipt) => receipt.type === ReceiptType.ReadPrivate));
});

story("the read marker follows a user to all devices", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const phone = await (await paul.logIn()).start();
    const eventId = await marie.device.say(roomId, "Lu jusqu'ici");
    const event = await paul.device.seesEvent(roomId, eventId);
    await paul.device.client.setRoomReadMarkers(roomId, eventId, event);
    const marker = () => phone.client.getRoom(roomId).getAccountData("m.fully_read");
    await phone.sees("the marker", () => marker()?.getContent().event_id === eventId);
    await marie.device.sees("the receipt", () =>
        marie.device.client.getRoom(roomId).hasUserReadEvent(paul.userId, eventId),
    );
});

story("a redacted message has no content, now and later", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const eventId = await marie.device.say(roomId, "Une erreur");
    const event = await paul.device.seesEvent(roomId, eventId);
    // Not with redactEvent, which shows the redaction before the server has refused it.
    const path = `/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(eventId)}/not-mine`;
    await assert.rejects(
        paul.device.client.http.authedRequest("PUT", path, undefined, {}),
        refusal(403, "M_FORBIDDEN"),
    );
    await marie.device.client.redactEvent(roomId, eventId, undefined, { reason: "faute" });
    await paul.device.sees("the redaction", () => event.isRedacted());
    assert.equal(event.getContent().body, undefined);
    assert.equal(event.getUnsigned().redacted_because.content.reason, "faute");

    const phone = await (await paul.logIn()).start();
    const later = await phone.seesEvent(roomId, eventId);
    assert.ok(later.isRedacted());
    assert.deepEqual(later.getContent(), {});
    const alone = await paul.device.client.fetchRoomEvent(roomId, eventId);
    assert.deepEqual(alone.content, {});
});

story("members leave, are kicked, banned, and let in again", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    await paul.device.client.leave(roomId);
    await paul.device.seesMembership(roomId, "leave");
    await marie.device.seesMember(roomId, paul.userId, "leave");
    await assert.rejects(paul.device.client.joinRoom(roomId), refusal(403, "M_FORBIDDEN"));

    await marie.device.bringIn(roomId, paul.device);
    await marie.device.client.kick(roomId, paul.userId, "hors sujet");
    await paul.device.seesMembership(roomId, "leave");
    const kicked = await marie.device.seesMember(roomId, paul.userId, "leave");
    assert.equal(kicked.events.member.getContent().reason, "hors sujet");
    assert.equal(kicked.events.member.getSender(), marie.userId);
    await assert.rejects(
        paul.device.client.sendTextMessage(roomId, "Encore moi"),
        refusal(403, "M_FORBIDDEN"),
    );

    await marie.device.client.ban(roomId, paul.userId);
    await paul.device.seesMembership(roomId, "ban");
    await assert.rejects(
        marie.device.client.invite(roomId, paul.userId),
        refusal(403, "M_FORBIDDEN"),
    );
    await marie.device.client.unban(roomId, paul.userId);
    await marie.device.seesMember(roomId, paul.userId, "leave");
    await marie.device.bringIn(roomId, paul.device);
});

story("a refused invitation is gone, and so is a forgotten room", async (cast) => {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    const roomId = await marie.device.open({ preset: "private_chat", invite: [paul.userId] });
    const invited = await paul.device.seesMembership(roomId, "invite");
    assert.equal(invited.getDMInviter() ?? marie.userId, marie.userId);
    await paul.device.client.leave(roomId);
    await paul.device.seesMembership(roomId, "leave");
    await marie.device.seesMember(roomId, paul.userId, "leave");
    await paul.device.client.forget(roomId);
    const phone = await (await paul.logIn()).start();
    assert.equal(phone.client.getRoom(roomId), null);
});

story("only moderators change the room", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    await assert.rejects(
        paul.device.client.setRoomName(roomId, "À moi"),
        refusal(403, "M_FORBIDDEN"),
    );
    await marie.device.client.setPowerLevel(roomId, paul.userId, 50);
    await paul.device.sees(
        "the new level",
        () => paul.device.client.getRoom(roomId).getMember(paul.userId).powerLevel === 50,
    );
    await paul.device.client.setRoomName(roomId, "Télégraphe");
    // Tchap's rooms leave the topic to those who lead them.
    await assert.rejects(
        paul.device.client.setRoomTopic(roomId, "À moi"),
        refusal(403, "M_FORBIDDEN"),
    );
    await marie.device.client.setRoomTopic(roomId, "De tour en tour");
    await marie.device.sees(
        "the new name",
        () => marie.device.client.getRoom(roomId).name === "Télégraphe",
    );
    const topic = await marie.device.client.getStateEvent(roomId, "m.room.topic", "");
    assert.equal(topic.topic, "De tour en tour");
});

story("a new picture is seen in the rooms, and the name stays what it is", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const avatar = `mxc://${server.name}/portrait`;
    await marie.device.client.setAvatarUrl(avatar);
    const member = await paul.device.sees("the picture", () => {
        const found = paul.device.client.getRoom(roomId).getMember(marie.userId);
        return found.getMxcAvatarUrl() === avatar && found;
    });
    assert.equal(member.membership, "join");
    const profile = await paul.device.client.getProfileInfo(marie.userId);
    assert.equal(profile.avatar_url, avatar);

    // Agents are named after their addresses.
    await assert.rejects(marie.device.client.setDisplayName("Une autre"), refusal(400, "M_FORBIDDEN"));
    assert.equal(member.rawDisplayName, profile.displayname);
    assert.match(profile.displayname, /^Marie .* \[Interieur\]$/);
});

story("account data and tags follow a user to all devices", async (cast) => {
    const { marie, roomId } = await pair(cast);
    const { client } = marie.device;
    const phone = await (await marie.logIn()).start();
    await client.setAccountData("m.direct", { "@paul:example.org": [roomId] });
    await client.setRoomAccountData(roomId, "fr.gouv.example", { note: "à relire" });
    await client.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await phone.sees("the tag", () => phone.client.getRoom(roomId).tags["m.favourite"]?.order === 0.5);
    const global = phone.client.getAccountData("m.direct");
    assert.deepEqual(global.getContent(), { "@paul:example.org": [roomId] });
    const note = phone.client.getRoom(roomId).getAccountData("fr.gouv.example");
    assert.deepEqual(note.getContent(), { note: "à relire" });

    const tablet = await (await marie.logIn()).start();
    assert.deepEqual(tablet.client.getRoom(roomId).tags, { "m.favourite": { order: 0.5 } });
    assert.deepEqual((await client.getRoomTags(roomId)).tags, { "m.favourite": { order: 0.5 } });
    await client.deleteRoomTag(roomId, "m.favourite");
    await tablet.sees("no tag", () => !tablet.client.getRoom(roomId).tags["m.favourite"]);
});

story("a public room is found by search and joined by its alias", async (cast) => {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    const word = marie.lastName;
    const roomId = await marie.device.open({
        preset: "public_chat",
        visibility: "public",
        room_alias_name: `forum-${word}`,
        name: `Forum ${word}`,
        topic: "Ouvert à tous les agents",
    });
    const alias = `#forum-${word}:${server.name}`;
    assert.equal((await paul.device.client.getRoomIdForAlias(alias)).room_id, roomId);

    const { chunk } = await paul.device.client.publicRooms({ filter: { generic_search_term: word } });
    assert.equal(chunk.length, 1);
    assert.equal(chunk[0].room_id, roomId);
    assert.equal(chunk[0].canonical_alias, alias);
    assert.equal(chunk[0].num_joined_members, 1);

    const joined = await paul.device.client.joinRoom(alias);
    assert.equal(joined.roomId, roomId);
    await paul.device.seesMembership(roomId, "join");
    await marie.device.seesMember(roomId, paul.userId, "join");
    const { joined: members } = await marie.device.client.getJoinedRoomMembers(roomId);
    assert.deepEqual(Object.keys(members).sort(), [marie.userId, paul.userId].sort());

    await marie.device.client.setRoomDirectoryVisibility(roomId, "private");
    const after = await paul.device.client.publicRooms({ filter: { generic_search_term: word } });
    assert.deepEqual(after.chunk, []);
});

story("a private room is closed to strangers", async (cast) => {
    const { marie, roomId } = await pair(cast);
    const eventId = await marie.device.say(roomId, "Entre nous");
    const stranger = await cast.agent("zoe");
    const { client } = stranger.device;
    await assert.rejects(client.joinRoom(roomId), refusal(403, "M_FORBIDDEN"));
    await assert.rejects(client.roomState(roomId), refusal(403, "M_FORBIDDEN"));
    await assert.rejects(client.sendTextMessage(roomId, "?"), refusal(403, "M_FORBIDDEN"));
    await assert.rejects(
        client.createMessagesRequest(roomId, null, 10, "b"),
        refusal(403, "M_FORBIDDEN"),
    );
    await assert.rejects(client.fetchRoomEvent(roomId, eventId), { httpStatus: 404 });
});

story("somebody knocks, is seen, and let in", async (cast) => {
    const [marie, paul] = await Promise.all([cast.agent("marie"), cast.agent("paul")]);
    const knock = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
    const roomId = await marie.device.open({
        preset: "private_chat",
        name: "Cabinet",
        initial_state: [knock],
    });
    await paul.device.client.knockRoom(roomId, { reason: "Bonjour" });
    const outside = await paul.device.seesMembership(roomId, "knock");
    assert.equal(outside.name, "Cabinet");
    const knocker = await marie.device.seesMember(roomId, paul.userId, "knock");
    assert.equal(knocker.events.member.getContent().reason, "Bonjour");
    await marie.device.client.invite(roomId, paul.userId);
    await paul.device.seesMembership(roomId, "invite");
    await paul.device.client.joinRoom(roomId);
    await paul.device.seesMembership(roomId, "join");
    await marie.device.seesMember(roomId, paul.userId, "join");

    // One who is turned away.
    const luc = await cast.agent("luc");
    await luc.device.client.knockRoom(roomId);
    await marie.device.seesMember(roomId, luc.userId, "knock");
    await marie.device.client.kick(roomId, luc.userId, "Complet");
    await luc.device.seesMembership(roomId, "leave");
});

story("a room is replaced, and its members find the new one", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    await paul.device.client.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await marie.device.say(roomId, "Avant");
    const { replacement_room: newId } = await marie.device.client.upgradeRoom(roomId, "12");
    await marie.device.seesMembership(newId, "join");
    const tombstone = await paul.device.sees("the tombstone", () =>
        paul.device.client.getRoom(roomId).currentState.getStateEvents("m.room.tombstone", ""),
    );
    assert.equal(tombstone.getContent().replacement_room, newId);
    await marie.device.bringIn(newId, paul.device);
    const room = paul.device.client.getRoom(newId);
    assert.equal(room.name, "Bureau");
    assert.equal(room.getVersion(), "12");
    assert.equal(room.findPredecessor().roomId, roomId);
    const history = paul.device.client.getRoomUpgradeHistory(newId, true);
    assert.deepEqual(history.map((one) => one.roomId), [roomId, newId]);
    await paul.device.sees("the tag", () => paul.device.client.getRoom(newId).tags["m.favourite"]);
    // Who may not write in the old room any more says so in the new one.
    await assert.rejects(
        paul.device.client.sendTextMessage(roomId, "Après"),
        refusal(403, "M_FORBIDDEN"),
    );
    const eventId = await paul.device.say(newId, "Après");
    await marie.device.seesEvent(newId, eventId);
});

story("a space shows its rooms, also after one was replaced", async (cast) => {
    const marie = await cast.agent("marie");
    const { client } = marie.device;
    const space = await marie.device.open({
        preset: "private_chat",
        name: "Ministère",
        creation_content: { type: "m.space" },
    });
    const rooms = [];
    for (const name of ["Accueil", "Courrier"]) {
        const roomId = await marie.device.open({ preset: "private_chat", name });
        const child = { via: [marie.userId.split(":")[1]], suggested: name === "Accueil" };
        await client.sendStateEvent(space, "m.space.child", child, roomId);
        rooms.push(roomId);
    }
    const names = async (suggested) => {
        const { rooms: found } = await client.getRoomHierarchy(space, 20, 1, suggested);
        return found.map((room) => room.name).sort();
    };
    assert.deepEqual(await names(false), ["Accueil", "Courrier", "Ministère"]);
    assert.deepEqual(await names(true), ["Accueil", "Ministère"]);
    const { replacement_room: newId } = await client.upgradeRoom(rooms[0], "12");
    const { rooms: found } = await client.getRoomHierarchy(space, 20, 1);
    const ids = found.map((room) => room.room_id).sort();
    assert.deepEqual(ids, [space, newId, rooms[1]].sort());
});
