// Files that people send each other encrypted, and the antivirus that looks at them on their way.

import "./support/quiet.js";

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import olm from "@matrix-org/olm";
import attachments from "matrix-encrypt-attachment";

import { story } from "./support/agents.js";
import { server } from "./support/server.js";

const PROXY = "/_matrix/media_proxy/unstable";

/** Asks the scanner as somebody. */
function ask(device, method, path, body) {
    return fetch(`${server.url}${PROXY}${path}`, {
        method,
        headers: { authorization: `Bearer ${device.client.getAccessToken()}`, "content-type": "application/json" },
        body: body && JSON.stringify(body),
    });
}

/** What clients send about an encrypted file: the same, but for the server's eyes only. */
async function seal(device, body) {
    await olm.init();
    const answer = await ask(device, "GET", "/public_key");
    const { public_key: key } = await answer.json();
    const encryption = new olm.PkEncryption();
    encryption.set_recipient_key(key);
    return { encrypted_body: encryption.encrypt(JSON.stringify(body)) };
}

/** Two agents with keys in an encrypted room. */
async function pair(cast) {
    const options = { encrypts: true };
    const [marie, paul] = await Promise.all([cast.agent("marie", options), cast.agent("paul", options)]);
    const { room_id: roomId } = await marie.device.client.createRoom({ preset: "private_chat", name: "Bureau" });
    await marie.device.seesMembership(roomId, "join");
    await marie.device.bringIn(roomId, paul.device);
    for (const { device } of [marie, paul]) {
        await device.sees("encryption", () => device.client.getRoom(roomId)?.hasEncryptionStateEvent());
    }
    return { marie, paul, roomId };
}

/** Encrypts a file, uploads it, and says in the room where it is and how to open it. */
async function sendFile(device, roomId, name, plain) {
    const copy = plain.buffer.slice(plain.byteOffset, plain.byteOffset + plain.length);
    const { data, info } = await attachments.encryptAttachment(copy);
    const bytes = Buffer.from(data);
    assert.notDeepEqual(bytes, plain);
    const upload = { type: "application/octet-stream", includeFilename: false };
    const { content_uri: url } = await device.client.uploadContent(bytes, upload);
    const { event_id: eventId } = await device.client.sendMessage(roomId, {
        msgtype: "m.file",
        body: name,
        file: { ...info, url },
        info: { size: plain.length },
    });
    return eventId;
}

/** What an encrypted message says of its file. */
async function fileOf(device, roomId, eventId) {
    await device.reads(roomId, eventId);
    return device.client.getRoom(roomId).findEventById(eventId).getContent().file;
}

story("an encrypted file passes the scanner and arrives", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const plain = randomBytes(100_000);
    const eventId = await sendFile(marie.device, roomId, "plan.bin", plain);
    const file = await fileOf(paul.device, roomId, eventId);
    for (const body of [{ file }, await seal(paul.device, { file })]) {
        const verdict = await ask(paul.device, "POST", "/scan_encrypted", body);
        assert.equal(verdict.status, 200);
        assert.equal((await verdict.json()).clean, true);
        const given = await ask(paul.device, "POST", "/download_encrypted", body);
        assert.equal(given.status, 200);
        const opened = await attachments.decryptAttachment(await given.arrayBuffer(), file);
        assert.deepEqual(Buffer.from(opened), plain);
    }
});

story("an infected file does not arrive, however it is wrapped", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    // In two pieces, so that no antivirus takes this file for one.
    const virus = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR" + "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    const plain = Buffer.concat([randomBytes(5_000), Buffer.from(virus), randomBytes(200_000)]);
    const eventId = await sendFile(marie.device, roomId, "facture.pdf", plain);
    const file = await fileOf(paul.device, roomId, eventId);
    for (const body of [{ file }, await seal(paul.device, { file })]) {
        const verdict = await ask(paul.device, "POST", "/scan_encrypted", body);
        assert.equal(verdict.status, 200);
        assert.equal((await verdict.json()).clean, false);
        const refused = await ask(paul.device, "POST", "/download_encrypted", body);
        assert.equal(refused.status, 403);
        assert.equal((await refused.json()).reason, "MCS_MEDIA_NOT_CLEAN");
    }
});
