// The whole story of a guest, with a mail server and a browser: an agent signs up, opens a private
// room to externals and invites an outsider by mail; the outsider registers from the mail and is in
// the room; a second invitation needs no mail; the room cannot be closed again; and the outsider can
// make no room and sees no directory (tchap.md, 2, 3, 4.5 and 5).

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { simpleParser } from "mailparser";
import puppeteer from "puppeteer-core";
import { SMTPServer } from "smtp-server";

const base = process.env.CHAPPE_STORY_URL;
const port = Number(process.env.CHAPPE_STORY_SMTP_PORT);
const password = "Cheval-correct-7!";
const mails = [];
let browser, smtp;

before(async () => {
    smtp = new SMTPServer({
        authOptional: true,
        disabledCommands: ["STARTTLS"],
        async onData(stream, session, done) {
            const to = session.envelope.rcptTo.map((recipient) => recipient.address);
            mails.push({ ...(await simpleParser(stream)), to });
            done();
        },
    });
    await new Promise((resolve) => smtp.listen(port, "127.0.0.1", resolve));
    browser = await puppeteer.launch({
        executablePath: process.env.CHAPPE_BROWSER,
        args: ["--no-sandbox", "--disable-gpu"],
    });
});

after(async () => {
    await browser?.close();
    await new Promise((resolve) => smtp.close(resolve));
});

/** Asks the server; gives the status and the body. */
async function ask(method, path, token, body) {
    const answer = await fetch(`${base}/_matrix/client/v3/${path}`, {
        method,
        headers: token ? { authorization: `Bearer ${token}` } : {},
        body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
}

async function ok(method, path, token, body) {
    const answer = await ask(method, path, token, body);
    assert.equal(answer.status, 200, `${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
}

/** Waits for something to be true, and gives it. */
async function soon(what, look) {
    for (let round = 0; round < 400; round += 1) {
        const found = await look();
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return assert.fail(`it did not happen: ${what}`);
}

const mailTo = (address, what) =>
    soon(`${what} to ${address}`, () => mails.find((mail) => mail.to.includes(address) && mail.subject.includes(what)));

/** Signs up with an address: the link of the mail is opened in the browser. */
async function signUp(address) {
    const begun = await ask("POST", "register", undefined, { password });
    assert.equal(begun.status, 401);
    const { session } = begun.body;
    const client_secret = `secret-${address.replaceAll(/[^a-z]/g, "")}`;
    const asked = { client_secret, email: address, send_attempt: 1 };
    const { sid } = await ok("POST", "register/email/requestToken", undefined, asked);
    const auth = { type: "m.login.email.identity", session, threepid_creds: { sid, client_secret } };
    const early = await ask("POST", "register", undefined, { password, auth });
    assert.equal(early.status, 401, "before the link was opened");

    const mail = await soon(`the link for ${address}`, () =>
        mails.find((mail) => mail.to.includes(address) && mail.text.includes("submit_token")),
    );
    const [link] = mail.text.match(/http\S+submit_token\S+/);
    const page = await browser.newPage();
    const opened = await page.goto(link, { waitUntil: "load" });
    assert.equal(opened.status(), 200);
    assert.equal(await page.$$eval("h1", (headings) => headings.length), 1);
    await page.close();
    return ok("POST", "register", undefined, { password, auth });
}

const state = (room, type) => `rooms/${encodeURIComponent(room)}/state/${type}/`;

test("a guest comes by mail, and stays a guest", async () => {
    const agent = await signUp("camille.martin@culture.gouv.fr");
    const token = agent.access_token;

    // Nobody invited the outsider yet.
    const outsider = "kermit@entreprise.example";
    const denied = await ask("POST", "register/email/requestToken", undefined, {
        client_secret: "early",
        email: outsider,
        send_attempt: 1,
    });
    assert.deepEqual([denied.status, denied.body.errcode], [403, "M_THREEPID_DENIED"]);

    const { room_id: room } = await ok("POST", "createRoom", token, { preset: "private_chat", name: "Projet" });
    const byMail = { id_server: "story.example.org", medium: "email", address: outsider };
    const invite = `rooms/${encodeURIComponent(room)}/invite`;
    const closed = await ask("POST", invite, token, byMail);
    assert.equal(closed.status, 403, "the room is not open to externals");

    const rules = state(room, "im.vector.room.access_rules");
    const open = { rule: "unrestricted", visibility: "private" };
    await ok("PUT", rules, token, open);
    await ok("POST", invite, token, byMail);
    const invitation = await mailTo(outsider, "Invitation");
    assert.match(invitation.text, /Camille Martin \[Culture\]/);
    assert.match(invitation.text, /kermit@entreprise\.example/);

    const guest = await signUp(outsider);
    const invited = await soon("the invite", async () => {
        const news = await ok("GET", "sync", guest.access_token);
        return news.rooms?.invite?.[room];
    });
    assert.ok(invited);
    await ok("POST", `join/${encodeURIComponent(room)}`, guest.access_token, {});
    const { joined } = await ok("GET", `rooms/${encodeURIComponent(room)}/joined_members`, token);
    assert.ok(joined[guest.user_id], "the guest is in the room");

    // A second invitation is an ordinary one.
    const count = mails.filter((mail) => mail.to.includes(outsider)).length;
    const { room_id: second } = await ok("POST", "createRoom", token, { preset: "private_chat" });
    await ok("PUT", state(second, "im.vector.room.access_rules"), token, open);
    await ok("POST", `rooms/${encodeURIComponent(second)}/invite`, token, byMail);
    const news = await ok("GET", "sync", guest.access_token);
    assert.ok(news.rooms.invite[second], "the second invitation is there at once");
    assert.equal(mails.filter((mail) => mail.to.includes(outsider)).length, count);

    // The box cannot be unticked.
    const shut = await ask("PUT", rules, token, { rule: "restricted", visibility: "private" });
    assert.deepEqual([shut.status, shut.body.errcode], [403, "M_FORBIDDEN"]);

    const own = await ask("POST", "createRoom", guest.access_token, {});
    assert.deepEqual([own.status, own.body["fr.gouv.tchap.reason"]], [403, "external_user"]);
    const people = await ok("POST", "user_directory/search", guest.access_token, { search_term: "camille" });
    assert.deepEqual(people, { results: [], limited: false });
    const rooms = await ok("POST", "publicRooms", guest.access_token, {});
    assert.deepEqual(rooms.chunk, []);
});
