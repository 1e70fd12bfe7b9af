// A logged-in matrix-js-sdk client, and ways to wait for what it sees.

import "./quiet.js";

import { ClientEvent, MatrixEventEvent, PendingEventOrdering, createClient } from "matrix-js-sdk";

import { server } from "./server.js";

/** How long a device may take to see something, in milliseconds. */
const PATIENCE = 30_000;

/** A client without a session. */
export function stranger() {
    return createClient({ baseUrl: server.url });
}

/** A condition of a Matrix error, for `assert.rejects`. */
export function refusal(httpStatus, errcode) {
    return { httpStatus, errcode };
}

export class Device {
    /** A device with the answer of a login or registration. */
    constructor(session) {
        this.session = session;
        /** The key of the secret storage, once the device has made it or was told. */
        this.storageKey = undefined;
        /** How often tokens were refreshed. */
        this.refreshes = 0;
        /** Why the last sync failed, if it did. */
        this.trouble = undefined;
        this.client = createClient({
            baseUrl: server.url,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            refreshToken: session.refresh_token,
            tokenRefreshFunction: session.refresh_token && ((token) => this.#refresh(token)),
            disableVoip: true,
            timelineSupport: true,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) =>
                    this.storageKey && [Object.keys(keys)[0], this.storageKey],
            },
        });
        this.client.on(ClientEvent.Sync, (_state, _before, data) => (this.trouble = data?.error));
    }

    get userId() {
        return this.session.user_id;
    }

    /**
     * Begins to sync, and waits for the first answer. With `encrypts` it has keys, in memory; with
     * `threads` it shows threads beside the room.
     */
    async start({ initialSyncLimit = 20, pollTimeout = 10_000, encrypts = false, threads = false } = {}) {
        if (encrypts) await this.client.initRustCrypto({ useIndexedDB: false });
        await this.client.startClient({
            initialSyncLimit,
            pollTimeout,
            threadSupport: threads,
            // Timelines hold what the server has said, and nothing that is on its way.
            pendingEventOrdering: PendingEventOrdering.Detached,
        });
        await this.sees("its first sync", () => this.client.isInitialSyncComplete());
        return this;
    }

    stop() {
        this.client.stopClient();
    }

    /** Waits until `check` gives something after one of the next syncs, and gives that. */
    sees(what, check) {
        const { client, userId } = this;
        return new Promise((resolve, reject) => {
            const end = () => {
                clearTimeout(timer);
                client.off(ClientEvent.Sync, look);
            };
            const look = () => {
                let seen;
                try {
                    seen = check();
                } catch (error) {
                    end();
                    reject(error);
                    return;
                }
                if (!seen) return;
                end();
                resolve(seen);
            };
            const timer = setTimeout(() => {
                end();
                const cause = this.trouble;
                reject(new Error(`${userId} did not see ${what} within ${PATIENCE} ms`, { cause }));
            }, PATIENCE);
            client.on(ClientEvent.Sync, look);
            look();
        });
    }

    /** Waits until the user is this to a room. */
    seesMembership(roomId, membership) {
        return this.sees(`${membership} of ${roomId}`, () => {
            const room = this.client.getRoom(roomId);
            return room?.getMyMembership() === membership && room;
        });
    }

    /** Waits until somebody else is this to a room. */
    seesMember(roomId, userId, membership) {
        return this.sees(`${membership} of ${userId}`, () => {
            const member = this.client.getRoom(roomId)?.getMember(userId);
            return member?.membership === membership && member;
        });
    }

    /** Waits for an event in the live timeline of a room. */
    seesEvent(roomId, eventId) {
        return this.sees(eventId, () => this.client.getRoom(roomId)?.findEventById(eventId));
    }

    /** Waits for an encrypted event, and for the keys that it takes to read its text. */
    async reads(roomId, eventId) {
        const event = await this.seesEvent(roomId, eventId);
        for (;;) {
            const decrypted = new Promise((done) => event.once(MatrixEventEvent.Decrypted, done));
            await this.client.decryptEventIfNeeded(event);
            if (event.getType() !== "m.room.encrypted" && !event.isDecryptionFailure()) {
                return event.getContent().body;
            }
            await decrypted;
        }
    }

    /** The texts of the messages that the device shows of a room, oldest first. */
    texts(roomId) {
        const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
        const messages = events.filter((event) => event.getType() === "m.room.message");
        return messages.map((event) => event.getContent().body);
    }

    /** Says something, and gives the event's id. */
    async say(roomId, text) {
        return (await this.client.sendTextMessage(roomId, text)).event_id;
    }

    /**
     * Makes a room, and waits until it is there. These devices do not encrypt: a private room is
     * one without encryption, as its creator may choose.
     */
    async open(options) {
        const { initial_state: initial = [], ...rest } = options;
        const plain = {
            type: "im.vector.room.access_rules",
            state_key: "",
            content: { rule: "restricted", force_unencrypted_at_creation: true },
        };
        const initialState = options.preset === "private_chat" ? [...initial, plain] : initial;
        const { room_id: roomId } = await this.client.createRoom({ ...rest, initial_state: initialState });
        await this.seesMembership(roomId, "join");
        return roomId;
    }

    /** Invites a device's user, who joins. */
    async bringIn(roomId, guest) {
        await this.client.invite(roomId, guest.userId);
        await guest.seesMembership(roomId, "invite");
        await guest.client.joinRoom(roomId);
        await guest.seesMembership(roomId, "join");
        await this.seesMember(roomId, guest.userId, "join");
    }

    async #refresh(token) {
        this.refreshes += 1;
        const fresh = await stranger().refreshToken(token);
        return { accessToken: fresh.access_token, refreshToken: fresh.refresh_token };
    }
}
