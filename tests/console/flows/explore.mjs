// Explore: filters, pages, a part of the chart, files, rows as they come, views of one's own.
const titles = (page) => page.locator("h1").innerText();
const ids = (page) => page.locator(".events .which code").allInnerTexts();

export default [
  ["explore: three filters and every page", async ({ open, base, data, check }) => {
    const page = await open({ as: "support" });
    await page.goto(`${base}/explore?${data.span}`);
    for (const [name, value] of [["status", "403"], ["service", "igny8-api"], ["environment", "production"]]) {
      await page.selectOption("#add", name);
      await page.fill("#value", value);
      await page.click("text=Add filter");
      await page.locator(`.chip:has-text("${value}")`).waitFor();
    }
    check(new URL(page.url()).searchParams.getAll("status").join() === "403", `the address is ${page.url()}`);
    const total = Number((await titles(page)).replace(/\u202f/g, "").match(/^\d+/)[0]);
    const seen = await ids(page);
    while (await page.locator("a[rel=next]").count()) {
      await page.click("a[rel=next]");
      await page.waitForLoadState();
      seen.push(...(await ids(page)));
    }
    check(total > 100 && seen.length === total, `${seen.length} rows on the pages, ${total} in the title`);
    await page.click(".chip:has-text('production') a");
    await page.waitForURL((url) => !url.search.includes("environment"));
    await page.click(".events .which a");
    await page.waitForURL("**/requests/**");
  }],
  ["explore: dragging over the chart chooses the time", async ({ open, base, data, check }) => {
    const page = await open({ as: "sre" });
    await page.goto(`${base}/explore?${data.span}&status=500`);
    const before = await titles(page);
    const box = await page.locator(".chart svg.wide").boundingBox();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.8, box.y + 100, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL((url) => url.searchParams.get("from")?.startsWith("2026-11-18T"));
    check((await titles(page)) !== before && page.url().includes("status=500"), `the address is ${page.url()}`);
  }],
  ["explore: a file is saved and says how far it is", async ({ open, base, data, check }) => {
    const page = await open({ as: "support", acceptDownloads: true });
    await page.goto(`${base}/explore?${data.span}&status=403`);
    const [file] = await Promise.all([page.waitForEvent("download"), page.click("text=CSV")]);
    check(/^errata-events-20261117T000000Z-.*\.csv$/.test(file.suggestedFilename()), `it is called ${file.suggestedFilename()}`);
    await page.locator("text=is saved").waitFor();
  }],
  ["explore: a file is saved once however often one clicks, and its lines are events", async ({ open, base, data, check }) => {
    const page = await open({ as: "support", acceptDownloads: true });
    await page.goto(`${base}/explore?${data.span}&status=403`);
    const total = Number((await titles(page)).replace(/\u202f/g, "").match(/^\d+/)[0]);
    let files = 0;
    page.on("download", () => (files += 1));
    await page.evaluate(() => {
      window.told = [];
      const note = (changes) => changes.flatMap((change) => [...change.addedNodes]).forEach((node) => window.told.push(node.textContent));
      new MutationObserver(note).observe(document.querySelector("[data-export-state]"), { childList: true, subtree: true });
      const link = document.querySelector("[data-export][href*=csv]");
      link.click();
      link.click();
    });
    await page.locator("text=is saved").waitFor();
    await page.locator("[data-export][href*=ndjson]").click();
    await page.locator("text=.ndjson is saved").waitFor();
    check(files === 2, `${files} files of two`);
    const counts = (await page.evaluate(() => window.told)).map((text) => text.replace(/,/g, "").match(/^(\d+) of (\d+) events$/)).filter(Boolean);
    const most = Math.max(...counts.map((count) => Number(count[1])));
    check(total > 100 && most === total, `${most} of ${total} events are told of`);
  }],
  ["explore: rows come live, and the address says so", async ({ open, base, data, check }) => {
    const page = await open({ as: "sre" });
    await page.goto(`${base}/explore?from=-1h&status=4xx`);
    await page.click("text=Follow live");
    await page.locator("text=Following: new errors appear here").waitFor();
    check(page.url().includes("live=1"), `the address is ${page.url()}`);
    await page.reload();
    await page.locator("text=Stop following").waitFor();
    await page.click("text=Stop following");
    check(!page.url().includes("live="), `the address is ${page.url()}`);
  }],
  ["explore: a view of one's own is kept", async ({ open, base, data, check }) => {
    const page = await open({ as: "sre" });
    await page.goto(`${base}/explore?from=-7d&status=429`);
    await page.fill("#view-name", "<b>Limits</b>");
    await page.click(".views button:has-text('Save')");
    await page.goto(`${base}/explore`);
    await page.click("text=<b>Limits</b>");
    await page.waitForURL("**/explore?from=-7d&status=429");
    await page.click("[data-forget]");
    check((await page.locator("[data-forget]").count()) === 0, "it cannot be forgotten");
  }],
  ["explore without scripts", async ({ open, base, data, check }) => {
    const page = await open({ as: "support", javaScriptEnabled: false });
    await page.goto(`${base}/explore?${data.span}`);
    await page.selectOption("#add", "route");
    await page.fill("#value", "/api/v1/writer/tasks/");
    await page.click("text=Add filter");
    await page.locator(".chip").waitFor();
    check((await page.locator("text=Follow live").isVisible()) === false, "the button for scripts is shown");
    await page.click("text=Follow these errors live in a terminal");
    check((await page.locator(".live-help pre").innerText()).includes("errata tail --route /api/v1/writer/tasks/"), "the command is missing");
  }],
];
