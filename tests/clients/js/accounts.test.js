// Signing up, logging in and out, tokens and devices.

import assert from "node:assert/strict";

import { PASSWORD, story } from "./support/agents.js";
import { refusal, stranger } from "./support/device.js";
import { linkInMailTo } from "./support/mails.js";
import { server } from "./support/server.js";

story("an agent signs up with a professional address", async (cast) => {
    const marie = await cast.agent("marie");
    assert.equal(marie.userId, `@marie.${marie.lastName}-interieur.gouv.fr:${server.name}`);

    const me = await marie.device.client.whoami();
    assert.equal(me.user_id, marie.userId);
    assert.equal(me.device_id, marie.device.session.device_id);

    const lastName = marie.lastName[0].toUpperCase() + marie.lastName.slice(1);
    const profile = await marie.device.client.getProfileInfo(marie.userId);
    assert.equal(profile.displayname, `Marie ${lastName} [Interieur]`);

    const { threepids } = await marie.device.client.getThreePids();
    assert.deepEqual(threepids.map(({ medium, address }) => [medium, address]), [
        ["email", marie.address],
    ]);
});

story("a private address cannot sign up", async () => {
    const client = stranger();
    const secret = client.generateClientSecret();
    await assert.rejects(
        client.requestRegisterEmailToken("marie@private.example", secret, 1),
        refusal(403, "M_THREEPID_DENIED"),
    );
});

story("an agent logs in by user id, local part and address", async (cast) => {
    const paul = await cast.agent("paul");
    const localpart = paul.userId.slice(1, paul.userId.indexOf(":"));
    const identifiers = [
        { type: "m.id.user", user: paul.userId },
        { type: "m.id.user", user: localpart },
        { type: "m.id.thirdparty", medium: "email", address: paul.address },
    ];
    const ids = [paul.device.session.device_id];
    for (const identifier of identifiers) {
        const device = await paul.logIn({ identifier, initial_device_display_name: "another" });
        assert.equal(device.userId, paul.userId);
        ids.push(device.session.device_id);
    }
    const { devices } = await paul.device.client.getDevices();
    assert.deepEqual(devices.map((device) => device.device_id).sort(), ids.sort());
    const names = devices.map((device) => device.display_name).sort();
    assert.deepEqual(names, ["another", "another", "another", "first device"]);
});

story("a wrong password and an unknown user are refused alike", async (cast) => {
    const zoe = await cast.agent("zoe");
    await assert.rejects(zoe.logIn({ password: "Wrong-9-Semaphore!" }), refusal(403, "M_FORBIDDEN"));
    const identifier = { type: "m.id.user", user: `@nobody:${server.name}` };
    await assert.rejects(zoe.logIn({ identifier }), refusal(403, "M_FORBIDDEN"));
});

story("a client that refreshes its tokens stays logged in", async (cast) => {
    const lea = await cast.agent("lea");
    const phone = await lea.logIn({ refresh_token: true });
    const { access_token: first, expires_in_ms: lifetime } = phone.session;
    assert.ok(lifetime > 0);
    await phone.start({ pollTimeout: 500 });
    const roomId = await lea.device.open({ preset: "private_chat" });
    await phone.seesMembership(roomId, "join");

    // The lifetime of this server's tokens is short: the sync refreshes them again and again.
    await phone.sees("two refreshes", () => phone.refreshes >= 2);
    const eventId = await lea.device.say(roomId, "Still there?");
    await phone.seesEvent(roomId, eventId);

    // A client that only has the old token may log in again and keep its device.
    const answer = await fetch(`${server.url}/_matrix/client/v3/account/whoami`, {
        headers: { Authorization: `Bearer ${first}` },
    });
    assert.equal(answer.status, 401);
    const { errcode, soft_logout: soft } = await answer.json();
    assert.equal(errcode, "M_UNKNOWN_TOKEN");
    assert.ok(soft === true || soft === undefined);
    const again = await lea.logIn({ device_id: phone.session.device_id });
    assert.equal(again.session.device_id, phone.session.device_id);
});

story("an expired token is a soft logout", async (cast) => {
    const noe = await cast.agent("noe");
    const phone = await noe.logIn({ refresh_token: true });
    phone.client.http.opts.tokenRefreshFunction = undefined;
    let refused;
    phone.client.on("Session.logged_out", (error) => (refused = error));
    await phone.client.startClient({ pollTimeout: 500 });
    await phone.sees("its logout", () => refused).catch(() => undefined);
    assert.equal(refused?.errcode, "M_UNKNOWN_TOKEN");
    assert.equal(refused.data.soft_logout, true);

    const fresh = await stranger().refreshToken(phone.session.refresh_token);
    phone.client.http.opts.accessToken = fresh.access_token;
    assert.equal((await phone.client.whoami()).device_id, phone.session.device_id);
});

story("logging out ends one session, and all of them", async (cast) => {
    const tom = await cast.agent("tom");
    const phone = await tom.logIn();
    await phone.client.logout();
    await assert.rejects(phone.client.whoami(), (error) => {
        assert.equal(error.httpStatus, 401);
        assert.equal(error.errcode, "M_UNKNOWN_TOKEN");
        assert.notEqual(error.data.soft_logout, true);
        return true;
    });
    assert.equal((await tom.device.client.whoami()).user_id, tom.userId);

    const tablet = await tom.logIn();
    await tablet.client.http.authedRequest("POST", "/logout/all", undefined, {});
    await assert.rejects(tom.device.client.whoami(), refusal(401, "M_UNKNOWN_TOKEN"));
});

story("deleting a device asks for the password, and logs it out", async (cast) => {
    const ines = await cast.agent("ines");
    const phone = await ines.logIn();
    await phone.start();
    let loggedOut = false;
    phone.client.on("Session.logged_out", () => (loggedOut = true));
    const { client } = ines.device;
    const deviceId = phone.session.device_id;

    await client.setDeviceDetails(deviceId, { display_name: "lost phone" });
    assert.equal((await client.getDevice(deviceId)).display_name, "lost phone");

    let asked;
    await assert.rejects(client.deleteDevice(deviceId), (error) => {
        asked = error;
        return error.httpStatus === 401;
    });
    const { session, flows } = asked.data;
    assert.ok(flows.some(({ stages }) => stages.join() === "m.login.password"));
    const proof = {
        type: "m.login.password",
        identifier: { type: "m.id.user", user: ines.userId },
        session,
    };
    await assert.rejects(
        client.deleteDevice(deviceId, { ...proof, password: "Wrong-9-Semaphore!" }),
        { httpStatus: 401 },
    );
    await client.deleteDevice(deviceId, { ...proof, password: PASSWORD });
    await assert.rejects(client.getDevice(deviceId), refusal(404, "M_NOT_FOUND"));
    await assert.rejects(phone.client.whoami(), refusal(401, "M_UNKNOWN_TOKEN"));
    assert.ok(loggedOut);
});

story("a new password logs the other devices out", async (cast) => {
    const luc = await cast.agent("luc");
    const phone = await luc.logIn();
    const newPassword = "Petit-7-Semaphore!";
    const proof = {
        type: "m.login.password",
        identifier: { type: "m.id.user", user: luc.userId },
        password: PASSWORD,
    };
    await luc.device.client.setPassword(proof, newPassword, true);
    assert.equal((await luc.device.client.whoami()).user_id, luc.userId);
    await assert.rejects(phone.client.whoami(), refusal(401, "M_UNKNOWN_TOKEN"));
    await assert.rejects(luc.logIn(), refusal(403, "M_FORBIDDEN"));
    await luc.logIn({ password: newPassword });
});

story("a forgotten password is replaced by mail", async (cast) => {
    const eve = await cast.agent("eve");
    const client = stranger();
    const secret = client.generateClientSecret();
    const { sid } = await client.requestPasswordEmailToken(eve.address, secret, 1);

    // The page of the link asks; its form confirms.
    const link = new URL(await linkInMailTo(eve.address));
    assert.ok((await fetch(link)).ok);
    const form = new URLSearchParams(link.search);
    assert.ok((await fetch(new URL(link.pathname, link), { method: "POST", body: form })).ok);

    const newPassword = "Petit-7-Semaphore!";
    const proof = {
        type: "m.login.email.identity",
        threepid_creds: { sid, client_secret: secret },
    };
    await client.setPassword(proof, newPassword, true);
    await eve.logIn({ password: newPassword });
    await assert.rejects(eve.logIn(), refusal(403, "M_FORBIDDEN"));
});
