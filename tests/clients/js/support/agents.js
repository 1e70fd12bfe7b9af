// Agents of the administration, who sign up as people do: with a professional address, the link in
// the mail, and a password.

import "./quiet.js";

import { randomInt } from "node:crypto";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { InteractiveAuth } from "matrix-js-sdk/lib/interactive-auth.js";

import { Device, stranger } from "./device.js";
import { linkInMailTo } from "./mails.js";

export const PASSWORD = "Grand-9-Semaphore!";

/** A test with agents of its own, whose devices stop at its end. */
export function story(title, play) {
    test(title, { timeout: 120_000 }, async (t) => {
        const cast = new Cast();
        t.after(() => cast.leave());
        await play(cast);
    });
}

class Cast {
    #devices = [];

    /** An agent with a new account; `agent.device` has begun to sync. */
    async agent(firstName, options) {
        const agent = new Agent(firstName, (device) => this.#devices.push(device));
        await agent.signUp();
        await agent.device.start(options);
        return agent;
    }

    /** An agent without an account. */
    newcomer(firstName) {
        return new Agent(firstName, (device) => this.#devices.push(device));
    }

    leave() {
        for (const device of this.#devices) device.stop();
    }
}

class Agent {
    #keep;

    constructor(firstName, keep) {
        this.#keep = keep;
        this.firstName = firstName;
        this.lastName = letters(8);
        this.address = `${firstName}.${this.lastName}@interieur.gouv.fr`;
    }

    get userId() {
        return this.device.userId;
    }

    /** Makes the account; the session that comes with it is `device`. */
    async signUp() {
        const session = await register(this.address);
        this.device = this.#device(session);
        return session;
    }

    /** Logs in, as the identifier says (by default with the user id), on a new device. */
    async logIn({ identifier, password = PASSWORD, ...more } = {}) {
        const session = await stranger().loginRequest({
            type: "m.login.password",
            identifier: identifier ?? { type: "m.id.user", user: this.userId },
            password,
            ...more,
        });
        return this.#device(session);
    }

    #device(session) {
        const device = new Device(session);
        this.#keep(device);
        return device;
    }
}

/** What a registration form does. */
async function register(address) {
    const client = stranger();
    let followed;
    const auth = new InteractiveAuth({
        matrixClient: client,
        inputs: { emailAddress: address },
        doRequest: (data) =>
            client.registerRequest({
                password: PASSWORD,
                initial_device_display_name: "first device",
                auth: data ?? undefined,
            }),
        requestEmailToken: async (email, secret, attempt) => {
            const answer = await client.requestRegisterEmailToken(email, secret, attempt);
            followed ??= follow(address);
            return answer;
        },
        stateUpdated: (stage) => {
            if (stage === "m.login.dummy") auth.submitAuthDict({ type: stage });
        },
    });
    const attempt = auth.attemptAuth();
    let done = false;
    const mark = () => (done = true);
    attempt.then(mark, mark);
    // The form does not know when the link is opened: it asks again and again.
    while (!done) {
        await followed;
        if (followed) await auth.poll();
        await pause(20);
    }
    return attempt;
}

async function follow(address) {
    const answer = await fetch(await linkInMailTo(address));
    if (!answer.ok) throw new Error(`the link in the mail answered ${answer.status}`);
}

function letters(count) {
    return Array.from({ length: count }, () => String.fromCharCode(97 + randomInt(26))).join("");
}
