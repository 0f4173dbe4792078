// What product teams do: from what fails to a request, and what the reference does not have.
const number = async (locator) => Number((await locator.innerText()).replace(/\D/g, ""));

export default [
  ["validation: from what fails to a request", async ({ open, base, data, check }) => {
    const page = await open();
    await page.goto(`${base}/validation?${data.span}&method=POST`);
    const row = page.locator(".failures tbody tr").first();
    const count = await number(row.locator("td.number").first());
    await row.locator("th a").click();
    await page.waitForURL((url) => url.pathname === "/validation/failure");
    check(new URL(page.url()).searchParams.get("method") === "POST", `the filter is lost: ${page.url()}`);
    check((await number(page.locator(".about b"))) === count, "the failure is of as many as its row said");
    const id = (await page.locator(".samples code").first().innerText()).trim();
    await page.locator(".samples a").first().click();
    await page.waitForURL(`**/requests/${id}`);
    check((await page.textContent(".about .id")).includes(id), "the request is shown");
  }],
  ["validation: a filter is taken off by itself", async ({ open, base, data, check }) => {
    const page = await open({ as: "product" });
    await page.goto(`${base}/validation?${data.span}&field=site_id&field=title`);
    check((await page.locator(".chip").count()) === 2, "each value is a filter");
    await page.click(".chip:has-text('title') a");
    await page.waitForURL((url) => url.searchParams.getAll("field").join() === "site_id");
  }],
  ["validation: the title tells of the stuck accounts when they are known", async ({ open, base, check }) => {
    const page = await open({ as: "product" });
    await page.goto(`${base}/validation?from=2026-11-20T00:00:00Z&to=2026-11-20T05:00:00Z`);
    await page.locator("section[data-later] table").waitFor();
    const title = await page.textContent("h1");
    check(title.endsWith("validation failures; 30 accounts are stuck"), `the title is ${title}`);
  }],
  ["validation: who has been signed out is told so", async ({ open, base, data, check }) => {
    const page = await open({ as: null });
    await page.goto(`${base}/sign-in`);
    await page.fill("#token", data.tokens.product);
    await page.click("button.primary");
    await page.waitForURL((url) => url.pathname !== "/sign-in");
    await page.route("**/validation/friction?*", async (route) => {
      const other = await page.context().newPage();
      await other.goto(`${base}/explore?from=-1h`);
      await other.click("details.menu:last-of-type summary");
      await other.click("text=Sign out");
      await other.waitForURL("**/sign-in");
      await route.continue();
    });
    await page.goto(`${base}/validation?${data.crowd}`);
    await page.locator("text=You are signed out; load the page again.").waitFor();
    check(!(await page.textContent("[data-until]")).includes("failed just now"), "it is no failure");
  }],
  ["reference: what it does not have, and the events", async ({ open, base, data, check }) => {
    const page = await open({ as: "product" });
    await page.goto(`${base}/reference?${data.span}`);
    await page.click("text=Observed, not documented");
    await page.waitForURL("**/reference?*show=undocumented");
    const row = page.locator("section.drift:has-text('Messages of fields') tbody tr").first();
    const field = (await row.locator("th code").innerText()).trim();
    await row.locator("td.number a").click();
    await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("field") === field);
    check((await page.locator(".events tbody tr").count()) > 0, "events are listed");
    await page.goBack();
    await page.click("text=Documented, not observed");
    await page.waitForURL("**/reference?*show=unobserved");
    check((await page.locator("section.drift tbody tr").count()) > 0, "messages are listed");
  }],
];
