// Reads the mails that a server without SMTP keeps in its outbox, one file each.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { server } from "./server.js";

/** The link in the newest mail to `address`; waits until there is one. */
export async function linkInMailTo(address) {
    for (const end = Date.now() + 20_000; Date.now() < end; await pause(50)) {
        const text = await newestTo(address);
        const link = text?.match(/https?:\/\/[^\s<>"]+/)?.[0];
        if (link) return link;
    }
    throw new Error(`no mail with a link came for ${address}`);
}

async function newestTo(address) {
    const names = await readdir(server.outbox).catch(() => []);
    const mails = names.filter((name) => name.endsWith(".eml") && !name.startsWith("."));
    // The names begin with the time.
    for (const name of mails.sort().reverse()) {
        const mail = parse(await readFile(join(server.outbox, name), "latin1"));
        if (mail.headers.get("to")?.includes(address)) return plainText(mail);
    }
    return undefined;
}

function parse(source) {
    const end = source.search(/\r?\n\r?\n/);
    const head = source.slice(0, end).replace(/\r?\n[ \t]+/g, " ");
    const body = source.slice(end).replace(/^\r?\n\r?\n/, "");
    const headers = new Map();
    for (const line of head.split(/\r?\n/)) {
        const colon = line.indexOf(":");
        headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    return { headers, body };
}

function plainText({ headers, body }) {
    const type = headers.get("content-type") ?? "text/plain";
    const boundary = type.match(/boundary="?([^";]+)"?/)?.[1];
    if (boundary) {
        const parts = body.split(`--${boundary}`).slice(1, -1);
        const texts = parts.map((part) => plainText(parse(part.replace(/^\r?\n/, ""))));
        return texts.find((text) => text !== undefined);
    }
    if (!type.startsWith("text/plain")) return undefined;
    return decode(body, headers.get("content-transfer-encoding")?.toLowerCase());
}

function decode(body, encoding) {
    if (encoding === "base64") return Buffer.from(body, "base64").toString("utf8");
    if (encoding !== "quoted-printable") return body;
    const bytes = body
        .replace(/=\r?\n/g, "")
        .replace(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    return Buffer.from(bytes, "latin1").toString("utf8");
}
