// What people see of Chappe, in a browser: pages and mails with invented contents, which
// `chappe mail preview` wrote. Each is looked at by axe-core (WCAG 2.1 A and AA, on which the RGAA
// is built), used with the keyboard alone, shown on a small screen, and loads nothing.

import assert from "node:assert/strict";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

import puppeteer from "puppeteer-core";

const preview = process.env.CHAPPE_PREVIEW;
const screenshots = process.env.CHAPPE_SCREENSHOTS;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const files = [];
for (const folder of ["page", "mail"]) {
    for (const name of (await readdir(join(preview, folder))).sort()) {
        if (name.endsWith(".html")) files.push({ folder, name });
    }
}

let browser;

before(async () => {
    if (screenshots) await mkdir(screenshots, { recursive: true });
    browser = await puppeteer.launch({
        executablePath: process.env.CHAPPE_BROWSER,
        // Containers let nobody make the namespaces of the sandbox. What is opened is ours.
        args: ["--no-sandbox", "--disable-gpu"],
    });
});

after(() => browser?.close());

/** Opens a file in a window of this width, and gives what it tried to load besides itself. */
async function open({ folder, name }, width = 1280) {
    const page = await browser.newPage();
    const loaded = [];
    page.on("request", (request) => {
        if (!request.isNavigationRequest()) loaded.push(request.url());
    });
    await page.setViewport({ width, height: 800 });
    await page.goto(pathToFileURL(join(preview, folder, name)).href, { waitUntil: "load" });
    return { page, loaded };
}

/** What has the focus: its tag and its words, and whether that is seen. */
function focused(page) {
    return page.evaluate(() => {
        const element = document.activeElement;
        if (element === document.body) return undefined;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        return {
            what: `${element.tagName.toLowerCase()} ${element.textContent.trim()}`,
            isSeen: box.width > 0 && box.right > 0 && box.bottom > 0 && parseFloat(style.outlineWidth) >= 1,
        };
    });
}

test("there are pages and mails to look at", () => {
    assert.ok(files.filter(({ folder }) => folder === "page").length >= 24, files.length);
    assert.ok(files.filter(({ folder }) => folder === "mail").length >= 12, files.length);
});

for (const file of files) {
    describe(`${file.folder}/${file.name}`, () => {
        test("axe-core finds nothing", async () => {
            const { page, loaded } = await open(file);
            // No script of a page may run, so axe is brought in from outside.
            await page.evaluate(axe);
            const result = await page.evaluate((isMail) =>
                axe.run(document, {
                    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
                    // Landmarks are those of the program that shows a mail.
                    rules: isMail ? { "landmark-one-main": { enabled: false }, region: { enabled: false } } : {},
                    resultTypes: ["violations", "incomplete"],
                }),
                file.folder === "mail",
            );
            const tell = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`;
            assert.deepEqual(result.violations.map(tell), []);
            assert.deepEqual(result.incomplete.map(tell), []);
            assert.ok(result.passes.length > 10, `${result.passes.length} rules looked at it`);
            assert.deepEqual(loaded, []);
            if (screenshots) {
                const path = join(screenshots, `${file.folder}-${file.name}.png`);
                await page.screenshot({ path, fullPage: true });
            }
            await page.close();
        });

        test("it fits a small screen, and large letters", async () => {
            // 320 pixels is also 1280 at 400 % (WCAG 1.4.10).
            const { page } = await open(file, 320);
            const width = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(width <= 320, `${width} pixels wide`);
            if (screenshots) {
                const path = join(screenshots, `${file.folder}-${file.name}-small.png`);
                await page.screenshot({ path, fullPage: true });
            }
            await page.close();
        });

        test("everything is reached with the keyboard, and the focus is seen", async () => {
            const { page } = await open(file);
            const selector = "a[href], button, input:not([type=hidden]), select, textarea";
            const count = await page.$$eval(selector, (elements) => elements.length);
            for (let step = 0; step < count; step += 1) {
                await page.keyboard.press("Tab");
                const focus = await focused(page);
                assert.ok(focus, `nothing has the focus after ${step + 1} of ${count} steps`);
                assert.ok(focus.isSeen, `the focus is not seen on ${focus.what}`);
            }
            await page.close();
        });

        if (file.folder === "page") {
            test("the first link leads to the content", async () => {
                const { page } = await open(file);
                await page.keyboard.press("Tab");
                await page.keyboard.press("Enter");
                assert.equal(await page.evaluate(() => location.hash), "#content");
                assert.equal(await page.evaluate(() => document.activeElement.id), "content");
                await page.close();
            });
        }
    });
}
