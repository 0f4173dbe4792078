// Runs the pages and the flows against a collector: ERRATA_URL, and ERRATA_DATA with tokens, ids and a time span. ERRATA_SCREENSHOTS: where
// pictures go; ERRATA_ONLY: a part of a name.
import { mkdirSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { pages } from "./pages.mjs";

const require = createRequire(`${process.env.ERRATA_MODULES}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;
const base = process.env.ERRATA_URL;
const data = JSON.parse(process.env.ERRATA_DATA);
const shots = process.env.ERRATA_SCREENSHOTS;
const only = process.env.ERRATA_ONLY ?? "";
const VIEWS = [
  { scheme: "light", width: 1440, height: 900 },
  { scheme: "dark", width: 1440, height: 900 },
  { scheme: "light", width: 360, height: 740 },
];
// Colours move nothing: this is for the eye alone.
if (shots) VIEWS.push({ scheme: "dark", width: 360, height: 740 });
const MOST_BYTES = 100 * 1024;

const problems = [];
const check = (holds, what) => {
  if (!holds) problems.push(what);
  return holds;
};

const browser = await chromium.launch({ executablePath: process.env.ERRATA_CHROMIUM, args: ["--no-sandbox"] });

// Sessions by whose they are: signing in once is enough.
const sessions = new Map();
async function session(as) {
  if (!as) return [];
  if (!sessions.has(as)) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${base}/sign-in`);
    await page.fill("#token", data.tokens[as]);
    await page.click("button.primary");
    await page.waitForURL((url) => url.pathname !== "/sign-in");
    sessions.set(as, await context.cookies());
    await context.close();
  }
  return sessions.get(as);
}

// A page that notes what it must not do.
async function open({ as = "admin", scheme = "light", width = 1440, height = 900, status = 200, about, ...options }) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, permissions: ["clipboard-read", "clipboard-write"], locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  await context.addCookies(await session(as));
  const page = await context.newPage();
  const own = new URL(base).host;
  page.on("console", (message) => {
    const expected = status >= 400 && message.text().includes(`status of ${status}`);
    if (!expected) problems.push(`${about}: the console says: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`${about}: ${error.message}`));
  page.on("request", (request) => check(new URL(request.url()).host === own, `${about}: asks ${request.url()}`));
  return { context, page };
}

async function seen(row, view) {
  const about = `${row.name} ${view.scheme} ${view.width}`;
  const { context, page } = await open({ as: row.as === undefined ? "admin" : row.as, status: row.status, about, ...view });
  let bytes = 0;
  page.on("requestfinished", async (request) => {
    const sizes = await request.sizes().catch(() => ({ responseBodySize: 0, responseHeadersSize: 0 }));
    bytes += sizes.responseBodySize + sizes.responseHeadersSize;
  });
  await page.addInitScript(() => {
    window.shifted = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifted += entry.value))).observe({ type: "layout-shift", buffered: true });
  });
  const response = await page.goto(base + row.path, { waitUntil: "load" });
  check(response.status() === (row.status ?? 200), `${about}: answered ${response.status()}`);
  await page.locator(row.ready).first().waitFor({ state: "attached", timeout: 5000 }).catch(() => problems.push(`${about}: has no ${row.ready}`));
  const { over, shifted, theme } = await page.evaluate(() => ({ over: document.documentElement.scrollWidth - innerWidth, shifted: window.shifted, theme: getComputedStyle(document.body).backgroundColor }));
  check(over <= 0, `${about}: is ${over} pixels wider than the screen`);
  check(shifted < 0.01, `${about}: the layout jumps by ${shifted}`);
  const light = theme.match(/\d+/g).slice(0, 3).every((part) => Number(part) > 128);
  check(light === (view.scheme === "light"), `${about}: has the background ${theme}`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of found.violations.filter((violation) => ["serious", "critical"].includes(violation.impact)))
    problems.push(`${about}: axe ${impact} ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  check(bytes > 0 && bytes < MOST_BYTES, `${about}: transfers ${bytes} bytes`);
  if (shots) await page.screenshot({ path: `${shots}/${row.name}-${view.scheme}${view.width < 500 ? "-360" : ""}.png`, fullPage: true });
  if (shots && row.readme === view.scheme && view.width > 500) {
    await page.setViewportSize({ width: 1120, height: 700 });
    await page.screenshot({ path: `${shots}/readme/${row.name}.png` });
  }
  await context.close();
}

if (shots) mkdirSync(`${shots}/readme`, { recursive: true });
let done = 0;
for (const row of pages(data).filter((row) => row.name.includes(only))) {
  for (const view of VIEWS) await seen(row, view);
  done += 1;
}
for (const file of readdirSync(new URL("flows/", import.meta.url)).sort()) {
  const { default: flows } = await import(new URL(`flows/${file}`, import.meta.url));
  for (const [name, flow] of flows.filter(([name]) => name.includes(only))) {
    const contexts = [];
    const opened = async (options = {}) => {
      const { context, page } = await open({ about: name, ...options });
      contexts.push(context);
      page.setDefaultTimeout(10_000);
      page.base = base;
      return page;
    };
    try {
      await flow({ open: opened, base, data, check: (holds, what) => check(holds, `${name}: ${what}`) });
    } catch (error) {
      problems.push(`${name}: ${error.message}`);
    }
    for (const context of contexts) await context.close();
    done += 1;
  }
}
await browser.close();
for (const problem of problems) console.log(problem);
console.log(`${done} pages and flows, ${problems.length} problems`);
process.exit(problems.length > 0 || done === 0 ? 1 : 0);
