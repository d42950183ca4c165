// A browser for the tests: node drive.mjs. One JSON command per line comes in, {"run": NAME, "args": {...}}; one JSON line
// goes out, {"ok": RESULT} or {"error": TEXT}. What a page must never do is collected all the time and ends every command
// as an error: scripts that fail, violations of our Content-Security-Policy, requests to other hosts.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const pages = new Map(); // name -> page
let problems = [];
let forgiven = ""; // what a test makes happen on purpose
let origin = "";
let leaving = false;

export function totp(secret, at = Date.now()) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30000)));
  const digest = createHmac("sha1", key).update(step).digest();
  const from = digest[19] & 15;
  return String((digest.readUInt32BE(from) & 0x7fffffff) % 1000000).padStart(6, "0");
}

function watch(page) {
  // A refusal that a test provokes is an answer with 4xx, which Chromium notes in its console; nothing else may be there.
  page.on("console", (message) => message.type() === "error" && !/status of 4\d\d/.test(message.text()) && !(forgiven && message.text().includes(forgiven)) && problems.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("dialog", (dialog) => {
    if (leaving) return dialog.accept();
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (/^(https?|wss?):$/.test(url.protocol) && url.host !== new URL(origin).host) problems.push(`foreign host: ${url.host}`);
  });
}

const commands = {
  // A window of its own (cookies, storage): size, language, theme.
  async open({ name = "main", url, width = 1280, height = 800, locale = "en-US", dark = false }) {
    origin = new URL(url).origin;
    const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, locale, colorScheme: dark ? "dark" : "light", reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"], acceptDownloads: true });
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));
    context.on("page", watch);
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    pages.set(name, page);
    await page.goto(url);
  },
  async forgive({ what }) {
    forgiven = what;
  },
  // The next such call comes to the server and is done there; its answer is lost on the way back.
  async lose_answer({ name = "main", method, path }) {
    await pages.get(name).route((url) => url.pathname.startsWith(path), async (route) => {
      if (route.request().method() !== method) return route.fallback();
      await route.fetch();
      await route.abort("connectionreset");
    });
  },
  async lose_nothing({ name = "main" }) {
    await pages.get(name).unrouteAll({ behavior: "wait" });
  },
  async offline({ name = "main", off = true }) {
    await pages.get(name).context().setOffline(off);
  },
  async close({ name = "main" }) {
    await pages.get(name).context().close();
    pages.delete(name);
  },
  // What people do. target: Playwright's selectors ("role=button[name='Save']", "label=Password", "text=Servers").
  async goto({ name = "main", url }) {
    await pages.get(name).goto(url);
  },
  // To an empty page, whatever this one asks: what runs in it is over.
  async leave({ name = "main" }) {
    leaving = true;
    await pages.get(name).goto("about:blank").finally(() => (leaving = false));
  },
  async click({ name = "main", target }) {
    await find(name, target).click();
  },
  async dblclick({ name = "main", target, x, y }) {
    await find(name, target).dblclick({ position: { x, y } });
  },
  async fill({ name = "main", target, text }) {
    await find(name, target).fill(text);
  },
  async choose({ name = "main", target, file }) {
    await find(name, target).setInputFiles(file);
  },
  async select({ name = "main", target, value }) {
    await find(name, target).selectOption(value);
  },
  async focus({ name = "main", target }) {
    await find(name, target).focus();
  },
  async press({ name = "main", key }) {
    await pages.get(name).keyboard.press(key);
  },
  async type({ name = "main", text }) {
    await pages.get(name).keyboard.type(text);
  },
  async see({ name = "main", target, count, timeout = 30000 }) {
    const found = find(name, target);
    if (count === 0) await found.first().waitFor({ state: "detached", timeout });
    else await found.first().waitFor({ timeout });
    return count === 0 ? "" : await found.first().innerText();
  },
  async text({ name = "main", target = "body" }) {
    return await find(name, target).first().innerText();
  },
  async value({ name = "main", target }) {
    return await find(name, target).first().inputValue();
  },
  async count({ name = "main", target }) {
    return await find(name, target).count();
  },
  async url({ name = "main" }) {
    return pages.get(name).url();
  },
  async evaluate({ name = "main", script }) {
    return await pages.get(name).evaluate(script);
  },
  async focused({ name = "main" }) {
    return await pages.get(name).evaluate(() => {
      const at = document.activeElement;
      return at ? `${at.tagName.toLowerCase()} ${at.getAttribute("aria-label") ?? at.getAttribute("name") ?? at.textContent.trim().slice(0, 60)}` : "";
    });
  },
  async size({ name = "main", width, height }) {
    await pages.get(name).setViewportSize({ width, height });
  },
  // The page that a click, or a key, opens in a new tab.
  async popup({ name = "main", target, key, as }) {
    const open = () => (key ? pages.get(name).keyboard.press(key) : find(name, target).click());
    const [page] = await Promise.all([pages.get(name).context().waitForEvent("page"), open()]);
    page.setDefaultTimeout(30000);
    pages.set(as, page);
    await page.waitForLoadState();
  },
  async close_page({ name }) {
    await pages.get(name).close();
    pages.delete(name);
  },
  async download({ name = "main", target }) {
    const [file] = await Promise.all([pages.get(name).waitForEvent("download"), find(name, target).click()]);
    return { name: file.suggestedFilename(), text: readFileSync(await file.path(), "utf8") };
  },
  async shot({ name = "main", path, full = false }) {
    await pages.get(name).screenshot({ path, fullPage: full });
  },
  // How an element looks: equal strings, equal pixels.
  async look({ name = "main", target }) {
    return (await find(name, target).screenshot()).toString("base64");
  },
  // What everybody must be able to use: axe's rules of WCAG 2.2 AA, and nothing wider than the window.
  async check({ name = "main" }) {
    const page = pages.get(name);
    await page.evaluate(`${axe}; 0`);
    const result = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    // Every command that is shown has its copy button (test_browser_copy.py presses them).
    const bare = await page.evaluate(() => [...document.querySelectorAll("pre:not(.json, .play-screen *)")].filter((one) => !one.closest(".command")?.querySelector("button:not([hidden])")).map((one) => `no copy button: ${one.textContent}`));
    return { wide, found: bare.concat(result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary?.split("\n")[1] ?? ""}`).slice(0, 4).join("; ")}`)) };
  },
  async sign_in({ name = "main", user, password, code }) {
    const page = pages.get(name);
    await page.locator('input[name="username"]').fill(user);
    await page.locator('input[name="password"]').fill(password);
    await page.locator('input[name="code"]').fill(code);
    await page.locator('form button[type="submit"]').click();
    const refused = "form .note.bad";
    await page.locator(`.frame, ${refused}`).first().waitFor();
    if (await page.locator(refused).count()) throw new Error(`sign-in: ${await page.locator(refused).first().innerText()}`);
  },
  async totp({ secret }) {
    return totp(secret);
  },
};

function find(name, target) {
  const page = pages.get(name);
  return target.startsWith("label=") ? page.getByLabel(target.slice(6), { exact: true }) : page.locator(target);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { run, args } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await commands[run](args)) ?? null };
    if (problems.length > 0) answer = { error: problems.join("\n") };
  } catch (error) {
    answer = { error: [String(error), ...problems].join("\n") };
  }
  problems = [];
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
