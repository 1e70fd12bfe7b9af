// What the test of the web client stands on: the client as files at a port, and a plain client.

import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";

import { build } from "esbuild";

const require = createRequire(import.meta.url);
const kinds = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
};

/** Builds the web client and serves it; gives its address and how to end it. */
export async function serveClient() {
    const folder = await mkdtemp(join(tmpdir(), "chappe-web-"));
    await build({
        entryPoints: [new URL("app.js", import.meta.url).pathname],
        bundle: true,
        format: "esm",
        outfile: join(folder, "app.js"),
        external: ["crypto", "fs", "path"],
        loader: { ".svg": "file", ".woff": "file", ".woff2": "file" },
        logLevel: "error",
    });
    const assets = dirname(require.resolve("hydrogen-view-sdk/main.js"));
    const library = join(assets, "..", "..", "lib-build");
    const olm = dirname(require.resolve("@matrix-org/olm/olm.js"));
    const copies = [
        [assets, "main.js"],
        [assets, "download-sandbox.html"],
        [library, "sw.js"],
        [olm, "olm.js"],
        [olm, "olm.wasm"],
        [olm, "olm_legacy.js"],
    ];
    await Promise.all(copies.map(([from, name]) => copyFile(join(from, name), join(folder, name))));
    await writeFile(
        join(folder, "index.html"),
        '<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>Hydrogen</title>' +
            '<link rel="stylesheet" href="app.css"></head>' +
            '<body id="app" class="hydrogen"><script type="module" src="app.js"></script></body></html>',
    );
    const server = createServer(async (request, response) => {
        const name = new URL(request.url, "http://localhost").pathname.slice(1) || "index.html";
        try {
            if (name.includes("/")) throw new Error("there are no folders");
            const body = await readFile(join(folder, name));
            response.setHeader("content-type", kinds[extname(name)] ?? "application/octet-stream");
            response.end(body);
        } catch {
            response.statusCode = 404;
            response.end();
        }
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
        url: `http://localhost:${server.address().port}/`,
        async end() {
            server.closeAllConnections();
            await new Promise((resolve) => server.close(resolve));
            await rm(folder, { recursive: true });
        },
    };
}

/** A user who talks to the server without a client's help. */
export class Person {
    constructor(base, { user_id, access_token }) {
        Object.assign(this, { base, userId: user_id, token: access_token });
    }

    static async signUp(base, username, password) {
        const body = { username, password, auth: { type: "m.login.dummy" } };
        return new Person(base, await answerOf(base, "POST", "v3/register", undefined, body));
    }

    ask(method, path, body) {
        return answerOf(this.base, method, path, this.token, body);
    }

    send(room, content) {
        const transaction = `t${Math.random()}`;
        return this.ask("PUT", `v3/rooms/${encodeURIComponent(room)}/send/m.room.message/${transaction}`, content);
    }

    /** The newest messages of a room, oldest first. */
    async messages(room) {
        const page = await this.ask("GET", `v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=50`);
        return page.chunk.filter((event) => event.type === "m.room.message").reverse();
    }

    /** Uploads a file, and gives its address. */
    async upload(name, type, bytes) {
        const path = `/_matrix/media/v3/upload?filename=${encodeURIComponent(name)}`;
        const headers = { authorization: `Bearer ${this.token}`, "content-type": type };
        const answer = await fetch(`${this.base}${path}`, { method: "POST", headers, body: bytes });
        if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return (await answer.json()).content_uri;
    }

    /** The bytes of a medium. */
    async download(uri) {
        const path = `v1/media/download/${uri.slice("mxc://".length)}`;
        const headers = { authorization: `Bearer ${this.token}` };
        const answer = await fetch(`${this.base}/_matrix/client/${path}`, { headers });
        if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return { type: answer.headers.get("content-type"), bytes: Buffer.from(await answer.arrayBuffer()) };
    }
}

async function answerOf(base, method, path, token, body) {
    const answer = await fetch(`${base}/_matrix/client/${path}`, {
        method,
        headers: token ? { authorization: `Bearer ${token}` } : {},
        body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
}

/** Waits for something to be true, and gives it. */
export async function soon(what, look) {
    for (let round = 0; round < 400; round += 1) {
        const found = await look();
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`it did not happen: ${what}`);
}
