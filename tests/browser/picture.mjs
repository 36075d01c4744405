// Takes a picture of the first screen of a report page.
// Usage: node picture.mjs PAGE.html PICTURE.png CHROMIUM
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [, , file, picture, executablePath] = process.argv;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
await page.goto(pathToFileURL(resolve(file)).href);
await page.waitForFunction(() => document.documentElement.dataset.drawn === "all");
await page.screenshot({ path: picture });
await browser.close();
console.log(`${picture}: ${statSync(picture).size} bytes`);
