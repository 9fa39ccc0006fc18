// Drives a headless Chromium. One JSON array a line comes in, a command and its arguments; one JSON object a line goes out:
// `{"value": …}` or `{"error": "…"}`. The arguments are the program to start and a folder for its profile. It ends with its input.

import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const TIMEOUT_MILLISECONDS = 20_000;

const [executablePath, profile] = process.argv.slice(2);
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
browser.setDefaultTimeout(TIMEOUT_MILLISECONDS);
const page = await browser.newPage();

// What no page of ours may do: fail, be stopped by the content security policy, run what came from outside.
const problems = [];
page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
page.on("console", (message) => {
  const text = message.text();
  // The status of an answer is the test's own business.
  if (message.type() === "error" && !text.startsWith("Failed to load resource")) problems.push(`console: ${text}`);
});
page.on("dialog", (dialog) => {
  problems.push(`dialog: ${dialog.message()}`);
  void dialog.dismiss();
});

const commands = {
  look: async (width, height, colorScheme) => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  },
  goto: async (url) => (await page.goto(url)).status(),
  url: () => page.url(),
  click: (selector) => page.click(selector),
  fill: (selector, text) => page.fill(selector, text),
  press: (key) => page.keyboard.press(key),
  wait: (selector) => page.waitForSelector(selector).then(() => null),
  text: (selector) => page.innerText(selector),
  texts: (selector) => page.locator(selector).allInnerTexts(),
  count: (selector) => page.locator(selector).count(),
  focused: () => page.evaluate(() => document.activeElement.outerHTML.slice(0, 200)),
  // By how many pixels the page is wider than the window.
  overflow: () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
  cookies: () => browser.cookies(),
  screenshot: (path) => page.screenshot({ path, fullPage: true }).then(() => null),
  // What went wrong since the last time.
  problems: () => problems.splice(0),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[name](...args)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

await browser.close();
