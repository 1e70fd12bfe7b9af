// Somebody with an encrypting matrix-js-sdk device who joins where they are invited and repeats what
// they are told: the other side of a talk with another kind of client.
//
// The session, as a login answers it, is the first line of the input; with its end the program ends.
// The output has a line of JSON for each: first {"ready": true}, then {"event_id": …} of each answer.

import "./quiet.js";

import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

import { MatrixEventEvent, RoomEvent, RoomMemberEvent } from "matrix-js-sdk";

import { Device } from "./device.js";

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const lines = createInterface({ input: process.stdin });
const [session] = await new Promise((done) => lines.once("line", (line) => done([JSON.parse(line)])));
lines.on("close", () => process.exit(0));

const device = new Device(session);
const { client } = device;
client.on(RoomMemberEvent.Membership, (_event, member) => {
    if (member.userId === device.userId && member.membership === "invite") client.joinRoom(member.roomId);
});
const answered = new Set();
const answer = async (event) => {
    const { body } = event.getContent();
    if (event.getType() !== "m.room.message" || event.getSender() === device.userId || !body) return;
    if (event.isDecryptionFailure() || answered.has(event.getId())) return;
    answered.add(event.getId());
    tell({ event_id: await device.say(event.getRoomId(), `You said: ${body}`) });
};
client.on(RoomEvent.Timeline, (event) => answer(event));
client.on(MatrixEventEvent.Decrypted, (event) => answer(event));
await device.start({ encrypts: true });
const crypto = client.getCrypto();
for (;;) {
    // The keys are sent in the background.
    const devices = await crypto.getUserDeviceInfo([device.userId], true);
    if (devices.get(device.userId)?.has(session.device_id)) break;
    await pause(50);
}
tell({ ready: true });
