// End-to-end encryption with the SDK's Rust crypto: two agents write, verify each other, and find
// their messages again on a new device.

import "./support/quiet.js";

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

import { CryptoEvent, VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

import { story } from "./support/agents.js";

/** Two agents with keys in a private room of the first, which is encrypted by default. */
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

/** Asks again and again until the answer is yes. */
async function comes(what, check) {
    const end = Date.now() + 30_000;
    while (!(await check())) {
        if (Date.now() > end) throw new Error(`${what} did not come`);
        await pause(50);
    }
}

/** Makes the keys that stand for a user. The first ones need no password. */
async function bootstrap(agent) {
    await agent.device.client.getCrypto().bootstrapCrossSigning({
        authUploadDeviceSigningKeys: (upload) => upload(null),
    });
}

story("two agents write encrypted in both directions", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const question = await marie.device.say(roomId, "Le signal est-il passé ?");
    assert.equal(await paul.device.reads(roomId, question), "Le signal est-il passé ?");
    const answer = await paul.device.say(roomId, "Oui ✅");
    assert.equal(await marie.device.reads(roomId, answer), "Oui ✅");
    // What went over the wire says nothing.
    const raw = await paul.device.client.fetchRoomEvent(roomId, question);
    assert.equal(raw.type, "m.room.encrypted");

    // A device that comes later gets the keys of what is said from then on.
    const phone = await (await paul.logIn()).start({ encrypts: true });
    const crypto = marie.device.client.getCrypto();
    await comes("the new device", async () => {
        const devices = await crypto.getUserDeviceInfo([paul.userId], true);
        return devices.get(paul.userId)?.has(phone.session.device_id);
    });
    const next = await marie.device.say(roomId, "Encore un");
    assert.equal(await phone.reads(roomId, next), "Encore un");
    assert.equal(await paul.device.reads(roomId, next), "Encore un");
});

story("two agents verify each other by emoji", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    await Promise.all([bootstrap(marie), bootstrap(paul)]);
    const [hers, his] = [marie.device.client.getCrypto(), paul.device.client.getCrypto()];
    // Each must know the other's new keys before asking.
    for (const [crypto, other] of [[hers, paul], [his, marie]]) {
        await comes("the other's keys", () => crypto.userHasCrossSigningKeys(other.userId, true));
    }

    const received = new Promise((done) =>
        paul.device.client.once(CryptoEvent.VerificationRequestReceived, done),
    );
    const request = await hers.requestVerificationDM(paul.userId, roomId);
    const incoming = await received;
    const reaches = (of, phase) =>
        new Promise((done) => {
            const look = () => of.phase === phase && done();
            of.on(VerificationRequestEvent.Change, look);
            look();
        });
    const ready = reaches(request, VerificationPhase.Ready);
    await incoming.accept();
    await ready;
    const started = reaches(incoming, VerificationPhase.Started);
    const seen = [];
    const compare = (verifier) => {
        verifier.on(VerifierEvent.ShowSas, (sas) => {
            seen.push(sas.sas.emoji.map(([emoji]) => emoji).join(""));
            void sas.confirm();
        });
        return verifier.verify();
    };
    const asking = compare(await request.startVerification("m.sas.v1"));
    await started;
    await Promise.all([asking, compare(incoming.verifier)]);
    assert.equal(seen.length, 2);
    assert.equal(seen[0], seen[1]);
    for (const [crypto, other] of [[hers, paul], [his, marie]]) {
        await comes("the signature", async () => {
            const status = await crypto.getUserVerificationStatus(other.userId);
            return status.isCrossSigningVerified();
        });
    }
});

story("who loses a phone reads the old messages on the next one", async (cast) => {
    const { marie, paul, roomId } = await pair(cast);
    const crypto = marie.device.client.getCrypto();
    await bootstrap(marie);
    const recovery = await crypto.createRecoveryKeyFromPassphrase();
    marie.device.storageKey = recovery.privateKey;
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => recovery,
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    assert.ok(await crypto.isSecretStorageReady());
    const hers = await marie.device.say(roomId, "Avant la perte");
    const his = await paul.device.say(roomId, "Bien reçu");
    assert.equal(await marie.device.reads(roomId, his), "Bien reçu");
    // What the SDK says of the backup is what it learned at first.
    await comes("the keys in the backup", async () => {
        const backup = await marie.device.client.http.authedRequest("GET", "/room_keys/version");
        return backup.count >= 2;
    });
    marie.device.stop();

    const phone = await marie.logIn();
    phone.storageKey = recovery.privateKey;
    await phone.start({ encrypts: true });
    const again = phone.client.getCrypto();
    await comes("the own keys", () => again.userHasCrossSigningKeys(marie.userId, true));
    // The identity comes from the secret storage, and signs the new device.
    await again.bootstrapCrossSigning({});
    await comes("the own signature", async () => {
        const own = await again.getDeviceVerificationStatus(marie.userId, phone.session.device_id);
        return own.crossSigningVerified;
    });
    await again.loadSessionBackupPrivateKeyFromSecretStorage();
    const { imported } = await again.restoreKeyBackup();
    assert.ok(imported >= 2);
    assert.equal(await phone.reads(roomId, hers), "Avant la perte");
    assert.equal(await phone.reads(roomId, his), "Bien reçu");

    // A second identity in the place of the first needs the password.
    const refused = again.bootstrapCrossSigning({
        setupNewCrossSigning: true,
        authUploadDeviceSigningKeys: (upload) => upload(null),
    });
    await assert.rejects(refused, { httpStatus: 401 });
});
