// A person with a web client in a browser, Hydrogen, and another without: the one signs in, opens a
// room, reads, writes, and they send each other pictures.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import puppeteer from "puppeteer-core";

import { Person, serveClient, soon } from "./support.js";

const base = process.env.CHAPPE_OPEN_URL;
const screenshots = process.env.CHAPPE_SCREENSHOTS;
const password = "Cheval-correct-7!";

let browser, client, folder;

before(async () => {
    if (screenshots) await mkdir(screenshots, { recursive: true });
    folder = await mkdtemp(join(tmpdir(), "chappe-web-files-"));
    client = await serveClient();
    browser = await puppeteer.launch({
        executablePath: process.env.CHAPPE_BROWSER,
        // Containers let nobody make the namespaces of the sandbox. What is opened is the client.
        args: ["--no-sandbox", "--disable-gpu"],
    });
});

after(async () => {
    await browser?.close();
    await client?.end();
    await rm(folder, { recursive: true });
});

/** A picture of a map, as PNG. The browser paints it. */
async function paint(page, color) {
    const url = await page.evaluate((land) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [480, 320];
        const brush = canvas.getContext("2d");
        brush.fillStyle = "#9ecbe8";
        brush.fillRect(0, 0, 480, 320);
        brush.fillStyle = land;
        brush.ellipse(240, 160, 170, 110, 0, 0, 7);
        brush.fill();
        return canvas.toDataURL("image/png");
    }, color);
    return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

/** Waits for as many pictures in the timeline, with pixels in them. */
const pictures = (page, count) =>
    page.waitForFunction(
        (wanted) => {
            const found = [...document.querySelectorAll(".Timeline .media img")];
            return found.filter((image) => image.complete && image.naturalWidth > 100).length === wanted;
        },
        { timeout: 20_000 },
        count,
    );

/** Waits for an element that says this, and gives it. */
const shown = (page, selector, words) =>
    page.waitForSelector(`${selector} ::-p-text(${words})`, { visible: true, timeout: 20_000 });

test("a web client signs in, reads, writes, and gets and sends pictures", async () => {
    const anna = await Person.signUp(base, "web_anna", password);
    const ben = await Person.signUp(base, "web_ben", password);
    const { room_id: room } = await ben.ask("POST", "v3/createRoom", {
        preset: "private_chat",
        name: "Salle des cartes",
        invite: [anna.userId],
    });
    await anna.ask("POST", `v3/join/${encodeURIComponent(room)}`, {});
    await ben.send(room, { msgtype: "m.text", body: "Bonjour Anna" });

    const page = await browser.newPage();
    await page.setViewport({ width: 1200, height: 800 });
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    const picturesAt = async (name) => {
        if (screenshots) await page.screenshot({ path: join(screenshots, `web-${name}.png`) });
    };
    await page.goto(`${client.url}?${encodeURIComponent(base)}`, { waitUntil: "load" });
    await (await page.waitForSelector("#username", { visible: true })).type("web_anna");
    await page.type("#password", password);
    await picturesAt("login");
    await page.click("button[type=submit]");

    await (await shown(page, ".RoomList", "Salle des cartes")).click();
    await shown(page, ".Timeline", "Bonjour Anna");
    await picturesAt("room");

    const composer = await page.waitForSelector(".MessageComposer_input textarea");
    await composer.type("Bonjour Ben, bien reçu : ça marche");
    await composer.press("Enter");
    const said = await soon("what the client wrote", async () =>
        (await ben.messages(room)).find((event) => event.sender === anna.userId),
    );
    assert.equal(said.content.body, "Bonjour Ben, bien reçu : ça marche");

    await ben.send(room, { msgtype: "m.text", body: "Envoie-moi la carte" });
    await shown(page, ".Timeline", "Envoie-moi la carte");

    const file = join(folder, "carte rouge.png");
    const map = await paint(page, "#c33");
    await writeFile(file, map);
    await page.click(".MessageComposer .sendFile");
    const [chooser] = await Promise.all([
        page.waitForFileChooser(),
        page.waitForSelector("::-p-text(Send picture)").then((item) => item.click()),
    ]);
    await chooser.accept([file]);
    const sent = await soon("the picture", async () =>
        (await ben.messages(room)).find((event) => event.content.msgtype === "m.image"),
    );
    assert.equal(sent.content.body, "carte rouge.png");
    assert.equal(sent.content.info.w, 480);
    const { type, bytes } = await ben.download(sent.content.url);
    assert.equal(type, "image/png");
    assert.deepEqual(bytes, map);
    await pictures(page, 1);

    const info = { w: 480, h: 320, mimetype: "image/png" };
    const url = await ben.upload("carte verte.png", info.mimetype, await paint(page, "#383"));
    await ben.send(room, { msgtype: "m.image", body: "carte verte.png", url, info });
    await pictures(page, 2);
    await picturesAt("picture");
    assert.deepEqual(faults, []);
});
