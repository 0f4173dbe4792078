// Support's day: sign in, look up, answer.
export default [
  ["sign in", async ({ open, base, data, check }) => {
    const page = await open({ as: null, status: 422 });
    await page.goto(`${base}/requests/${data.ids[0]}`);
    check(page.url().includes("/sign-in?next="), "one is sent to sign in");
    await page.fill("#token", "errata_wrong");
    await page.click("button.primary");
    check((await page.textContent("[role=alert]")).includes("not known"), "a wrong token is told of");
    await page.fill("#token", data.tokens.support);
    await page.click("button.primary");
    await page.waitForURL(`**/requests/${data.ids[0]}`);
    const places = await page.locator(".places a").allTextContents();
    check(places.includes("Lookup") && !places.includes("Alerts") && !places.includes("Settings"), `support's places are ${places}`);
    await page.click("details.menu:last-of-type summary");
    await page.click("text=Sign out");
    await page.waitForURL("**/sign-in");
    await page.goto(`${base}/requests/${data.ids[0]}`);
    check(page.url().includes("/sign-in"), "the session has ended");
  }],
  ["lookup of each kind of id", async ({ open, base, data, check }) => {
    const page = await open({ as: "support" });
    for (const id of data.ids) {
      await page.goto(`${base}/lookup`);
      await page.keyboard.press("/");
      check(await page.evaluate(() => document.activeElement.id === "find"), "/ goes to the box");
      await page.keyboard.type(id);
      await page.keyboard.press("Enter");
      await page.waitForURL(`**/requests/${id}`);
      check((await page.textContent("h1")).length > 10, `${id} has a headline`);
      check((await page.textContent(".about .id")).includes(id), `${id} is shown`);
    }
    const time = page.locator(".about time").first();
    check(/GMT\+1|CET/.test(await time.textContent()), `times are the reader's: ${await time.textContent()}`);
    check((await time.getAttribute("title")).endsWith("UTC"), "with UTC on hover");
  }],
  ["a ticket with four ids", async ({ open, base, data, check }) => {
    const page = await open({ as: "support" });
    await page.goto(`${base}/lookup`);
    const [a, b, c, d] = data.ticket;
    await page.fill("#ticket", `Dear team,\n${a} fails since Monday, so do ${b} and (${c}).\nAlso: request ${d}!\nAnna Miller`);
    await page.click("main button.primary");
    await page.waitForURL("**/lookup?id=*");
    check(!page.url().includes("Anna"), "the address has no more than ids");
    check((await page.locator(".results > li").count()) === 4, "four results");
    check((await page.textContent("h1")).includes("4 of 4 requests found"), await page.textContent("h1"));
  }],
  ["copy the reply", async ({ open, base, data, check }) => {
    const page = await open({ as: "support" });
    await page.goto(`${base}/requests/${data.request}`);
    await page.click("section.reply button:has-text('Copy') >> nth=0");
    await page.waitForSelector("section.reply button:has-text('Copied')");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    check(copied === (await page.textContent("#reply")) && copied.startsWith("Hello,"), `copied: ${copied}`);
    await page.click("section.reply button:has-text('Copy link')");
    await page.waitForSelector("section.reply button:has-text('Copied')");
    check((await page.evaluate(() => navigator.clipboard.readText())).endsWith(`/requests/${data.request}`), "the link is copied");
    await page.click(".about .copy");
    await page.waitForSelector(".about .copy.done");
    check((await page.evaluate(() => navigator.clipboard.readText())) === data.request, "the id is copied");
  }],
  ["a theme is chosen and kept", async ({ open, base, check }) => {
    const page = await open();
    await page.goto(`${base}/lookup`);
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await Promise.all([page.waitForEvent("load"), page.click("button[value=dark]")]);
    check((await background()) !== light, "dark is there");
    await page.goto(`${base}/`);
    check((await page.getAttribute("html", "data-theme")) === "dark", "dark stays");
  }],
  ["without scripts", async ({ open, base, data, check }) => {
    const page = await open({ as: null, javaScriptEnabled: false });
    await page.goto(`${base}/sign-in`);
    await page.fill("#token", data.tokens.admin);
    await page.click("button.primary");
    await page.goto(`${base}/?${data.span}`);
    await page.fill("#find", data.request);
    await page.click(".find button");
    check(page.url().endsWith(`/requests/${data.request}`), page.url());
    check(!(await page.isVisible("section.reply button")), "what needs a script is not shown");
    await page.click("button[value=dark]");
    check((await page.getAttribute("html", "data-theme")) === "dark" && page.url().endsWith(data.request), "a theme is chosen");
    // The date fields name no zone; the words beside them do.
    await page.goto(`${base}/explore?status=500`);
    await page.click("details.picker summary");
    check((await page.textContent("label[for=range-from]")).includes("(UTC)"), "the zone is named");
    await page.fill("#range-from", "2026-11-17T00:00");
    await page.fill("#range-to", "2026-11-19T00:00");
    const [shown] = await Promise.all([page.waitForResponse((response) => response.url().includes("from=")), page.click(".picker button:has-text('Show')")]);
    check(shown.status() === 200, `times of the form are answered with ${shown.status()}`);
    const title = await page.textContent("h1");
    check(/from 17 Nov 00:00 to 19 Nov 00:00/.test(title) && !title.startsWith("0"), `the title is ${title}`);
    check((await page.getAttribute("a[data-export]", "href")).includes("2026-11-17T00%3A00%3A00Z"), "a file is of the same times");
    await page.click("details.picker summary");
    check((await page.inputValue("#range-day")) === "2026-11-17", "the day that the range begins on is offered");
    await Promise.all([page.waitForURL("**day=2026-11-17**"), page.click(".picker .day button")]);
    check(/on 17 Nov 2026 \(UTC\)/.test(await page.textContent("h1")), `the title of a day is ${await page.textContent("h1")}`);
    check((await page.getAttribute("a[data-export]", "href")).includes("from=2026-11-17&to=2026-11-17"), "a file is of the same day");
  }],
  ["time is chosen by dragging over the chart", async ({ open, base, data, check }) => {
    const page = await open();
    await page.goto(`${base}/?${data.span}`);
    const box = await page.locator(".chart svg.wide").boundingBox();
    const [x, y] = [box.x + box.width * 0.2, box.y + box.height / 2];
    await page.mouse.move(x, y);
    check(/\d/.test(await page.textContent(".chart output")), "a step tells its numbers");
    await page.mouse.down();
    await page.mouse.move(x + 200, y, { steps: 5 });
    await page.mouse.up();
    await page.waitForURL((url) => url.searchParams.get("from") !== new URLSearchParams(data.span).get("from"));
    const params = new URL(page.url()).searchParams;
    const hours = (new Date(params.get("to")) - new Date(params.get("from"))) / 3_600_000;
    check(hours >= 5 && hours <= 20, `${hours} hours`);
    await page.click("details.picker summary");
    await page.click("text=last 7 d");
    await page.waitForURL("**/?from=-7d");
    await page.click("details.picker summary");
    await page.fill("#range-day", "2026-11-18");
    await page.click(".picker .day button");
    await page.waitForURL("**/?day=2026-11-18");
    check((await page.textContent(".picker summary")).includes("18 Nov 2026 (UTC)"), "a day is chosen");
  }],
];
