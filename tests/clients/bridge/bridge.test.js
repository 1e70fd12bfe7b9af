// An application service on matrix-bot-sdk, as bridges have it: its users and rooms are made when
// somebody asks for them, it hears what is said, and speaks as its users.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { Appservice, LogLevel, LogService, MatrixClient } from "matrix-bot-sdk";

const base = process.env.CHAPPE_OPEN_URL;
const name = process.env.CHAPPE_OPEN_NAME;
const port = Number(process.env.CHAPPE_BRIDGE_PORT);
/** As tests/clients/run writes it into the registration that the server reads. */
const registration = {
    id: "telegraph",
    url: `http://127.0.0.1:${port}`,
    as_token: "as-token-of-the-telegraph",
    hs_token: "hs-token-of-the-telegraph",
    sender_localpart: "telegraph",
    namespaces: {
        users: [{ exclusive: true, regex: "@telegraph_.*:.*" }],
        aliases: [{ exclusive: true, regex: "#telegraph_.*:.*" }],
        rooms: [],
    },
};

/** What the service was told: messages, and what it was asked for. */
const heard = [];
const asked = [];
const pings = [];
let service, person;

/** Waits for something to be true, and gives it. */
async function soon(what, look) {
    for (const end = Date.now() + 30_000; Date.now() < end; await pause(50)) {
        const found = await look();
        if (found) return found;
    }
    throw new Error(`it did not happen: ${what}`);
}

/** Somebody with an account and a client. */
async function signUp(username) {
    const answer = await fetch(`${base}/_matrix/client/v3/register`, {
        method: "POST",
        body: JSON.stringify({ username, password: "Cheval-correct-7!", auth: { type: "m.login.dummy" } }),
    });
    assert.equal(answer.status, 200);
    return new MatrixClient(base, (await answer.json()).access_token);
}

/** A service with matrix-bot-sdk. */
function build() {
    const built = new Appservice({
        port,
        bindAddress: "127.0.0.1",
        homeserverName: name,
        homeserverUrl: base,
        registration,
    });
    // matrix-bot-sdk knows nothing of pings yet.
    built.expressAppInstance.post("/_matrix/app/v1/ping", (request, response) => {
        assert.equal(request.headers.authorization, `Bearer ${registration.hs_token}`);
        pings.push(request.body.transaction_id);
        response.json({});
    });
    built.on("room.message", (roomId, event) => heard.push({ roomId, event }));
    built.on("query.user", (userId, create) => {
        asked.push(userId);
        create(userId.includes("nobody") ? false : { display_name: "Station" });
    });
    built.on("query.room", (alias, create) => {
        asked.push(alias);
        create({ name: "Ligne", preset: "public_chat" });
    });
    return built;
}

const texts = (roomId) => heard.filter((one) => one.roomId === roomId).map((one) => one.event.content.body);

before(async () => {
    LogService.setLevel(LogLevel.ERROR);
    // It logs refusals, which some of these tests wait for.
    LogService.muteModule("MatrixHttpClient");
    service = build();
    await service.begin();
    person = await signUp("bridge_anna");
});

after(() => service?.stop());

test("the server reaches the service with a ping", async () => {
    const path = `/_matrix/client/v1/appservice/${registration.id}/ping`;
    const answer = await service.botClient.doRequest("POST", path, null, { transaction_id: "ping-1" });
    assert.equal(typeof answer.duration_ms, "number");
    assert.deepEqual(pings, ["ping-1"]);
    // A person cannot have it pinged.
    await assert.rejects(person.doRequest("POST", path, null, {}), { errcode: "M_FORBIDDEN" });
});

test("the service hears what is said where its users are, and speaks as them", async () => {
    const lille = service.getIntent("telegraph_lille");
    await lille.ensureRegistered();
    await lille.underlyingClient.setDisplayName("Lille");
    const roomId = await person.createRoom({ preset: "private_chat", name: "Ligne du Nord" });
    await person.inviteUser(lille.userId, roomId);
    await lille.ensureJoined(roomId);
    for (let number = 0; number < 20; number += 1) await person.sendText(roomId, `dépêche ${number}`);
    await soon("the messages", () => texts(roomId).length >= 20);
    // Each once, and in order.
    assert.deepEqual(texts(roomId), Array.from({ length: 20 }, (_, number) => `dépêche ${number}`));

    const eventId = await lille.sendText(roomId, "Bien reçu à Lille");
    const event = await person.getEvent(roomId, eventId);
    assert.equal(event.sender, `@telegraph_lille:${name}`);
    assert.equal(event.content.body, "Bien reçu à Lille");
    const members = await person.getJoinedRoomMembersWithProfiles(roomId);
    assert.equal(members[lille.userId].display_name, "Lille");

    // Nobody else may be one of them, and the service may be nobody else.
    const intruder = fetch(`${base}/_matrix/client/v3/register`, {
        method: "POST",
        body: JSON.stringify({
            username: "telegraph_paris",
            password: "Cheval-correct-7!",
            auth: { type: "m.login.dummy" },
        }),
    });
    assert.equal((await (await intruder).json()).errcode, "M_EXCLUSIVE");
    const stranger = new MatrixClient(base, registration.as_token);
    stranger.impersonateUserId(await person.getUserId());
    await assert.rejects(stranger.sendText(roomId, "?"), { errcode: "M_FORBIDDEN" });
});

test("users and rooms of the service are made when somebody asks for them", async () => {
    const alias = `#telegraph_calais:${name}`;
    const roomId = await person.joinRoom(alias);
    assert.ok(asked.includes(alias));
    const state = await person.getRoomStateEvent(roomId, "m.room.name", "");
    assert.equal(state.name, "Ligne");

    const userId = `@telegraph_calais:${name}`;
    const profile = await person.getUserProfile(userId);
    assert.equal(profile.displayname, "Station");
    assert.ok(asked.includes(userId));
    await assert.rejects(person.getUserProfile(`@telegraph_nobody:${name}`), { errcode: "M_NOT_FOUND" });
});

test("a service that was away is told what it missed, once and in order", async () => {
    const roomId = await service.botClient.createRoom({ preset: "public_chat", name: "Nuit" });
    await person.joinRoom(roomId);
    service.stop();
    // Connections that are open would keep it reachable.
    service.appServer.closeAllConnections();
    for (let number = 0; number < 5; number += 1) await person.sendText(roomId, `de nuit ${number}`);
    await assert.rejects(fetch(registration.url));
    assert.deepEqual(texts(roomId), []);
    service = build();
    await service.begin();
    await person.sendText(roomId, "au matin");
    await soon("the messages", () => texts(roomId).includes("au matin"));
    assert.deepEqual(texts(roomId), [...Array.from({ length: 5 }, (_, number) => `de nuit ${number}`), "au matin"]);
});
