// The invitation in a real browser: node invite.mjs URL PASSWORD SCREENSHOT_DIR
// Prints one JSON line: what was seen. The one-time code is computed as an authenticator app does.
import { createHmac } from "node:crypto";
import { chromium } from "playwright-core";

const [url, password, folder] = process.argv.slice(2);

function totp(secret) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)));
  const digest = createHmac("sha1", key).update(step).digest();
  const at = digest[19] & 15;
  return String((digest.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, "0");
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const page = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 900, height: 1100 } })).newPage();
const problems = [];
const hosts = new Set();
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(String(error)));
page.on("request", (request) => hosts.add(new URL(request.url()).host));

await page.goto(url);
await page.screenshot({ path: `${folder}/invite.png`, fullPage: true });
const secret = (await page.locator("code.secret").innerText()).replace(/[^A-Z2-7]/g, "");
const qr = await page.locator("img").first().evaluate((image) => image.naturalWidth);
// First a mistake, which must be explained beside the form and lose nothing.
await page.fill('input[name="password"]', password);
await page.fill('input[name="repeat"]', `${password}x`);
await page.fill('input[name="code"]', totp(secret));
await Promise.all([page.waitForNavigation(), page.click('button[type="submit"]')]);
const mistake = await page.locator("main").innerText();
await page.screenshot({ path: `${folder}/invite-mistake.png`, fullPage: true });
// With the keyboard alone.
await page.focus('input[name="password"]');
await page.keyboard.type(password);
await page.keyboard.press("Tab");
await page.focus('input[name="repeat"]');
await page.keyboard.type(password);
await page.focus('input[name="code"]');
await page.keyboard.type(totp(secret));
await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
const done = await page.locator("main").innerText();
await page.screenshot({ path: `${folder}/invite-done.png`, fullPage: true });
await page.goto(url);
const again = await page.locator("main").innerText();
await page.setViewportSize({ width: 360, height: 740 });
const overflow = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
console.log(JSON.stringify({ secret: secret.length, qr, mistake, done, again, overflow, problems, hosts: [...hosts] }));
await browser.close();
