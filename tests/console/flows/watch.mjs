// What who is on call does: from the overview to an alert, and a silence.
export default [
  ["an alert is silenced, and the silence is ended", async ({ open, base, check }) => {
    const page = await open({ as: "sre" });
    await page.goto(`${base}/`);
    check((await page.textContent("[aria-labelledby=now]")).includes("rate-limited"), "the overview has the alert");
    check((await page.locator("main a[href^='/requests/']").count()) === 0, "a link leads to what is support's");
    await page.click(".places a:has-text('Alerts')");
    await page.locator("article.alert[aria-label=rate-limited]").waitFor();
    // By the keyboard: what is hidden in it is not reached before.
    check(!(await page.locator("article.alert select").isVisible()), "the forms are closed");
    await page.focus("article.alert .act summary");
    await page.keyboard.press("Enter");
    await page.selectOption("article.alert select", "4h");
    await page.click("article.alert button:has-text('Silence')");
    await page.locator("[aria-labelledby=silences] tbody tr:has-text('rate-limited')").waitFor();
    check((await page.textContent("header.head")).includes("silenced"), await page.textContent("header.head"));
    check((await page.locator("article.alert button:has-text('Silence')").count()) === 0, "what is silent is silenced again");
    await page.goto(`${base}/`);
    check((await page.textContent("[aria-labelledby=now] .tag")) === "silenced", "the overview says so");
    await page.goto(`${base}/alerts`);
    await page.click("button:has-text('End it')");
    await page.locator("text=The silence has ended").waitFor();
    check((await page.locator("article.alert button:has-text('Silence')").count()) === 1, "it can be silenced again");
  }],
];
