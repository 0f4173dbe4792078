// What is nicer with scripts; every page works without. No library, nothing is fetched that the reader did not ask for.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("scripts");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // `/` goes to the lookup box; Enter sends it, as one line; Escape leaves it and closes menus.
  const find = document.querySelector("[data-find]");
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select, [contenteditable]");
    if (event.key === "/" && find && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      find.focus();
      find.select();
    } else if (event.key === "Escape") {
      if (event.target === find) find.blur();
      for (const menu of all("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
  });
  find?.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (find.value.trim()) find.form.requestSubmit();
    }
  });
  // A ticket that is dropped into the box at once is looked up at once.
  find?.addEventListener("paste", () => setTimeout(() => { if (/\n/.test(find.value)) find.form.requestSubmit(); }));
  addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // On a narrow screen the places scroll: where one is can be seen.
  for (const list of all(".places ul")) {
    const here = list.querySelector("[aria-current]");
    if (here) list.scrollLeft = here.offsetLeft - list.offsetLeft - (list.clientWidth - here.offsetWidth) / 2;
  }

  // Times in the reader's zone; UTC stays on hover.
  const formats = {
    full: { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" },
    minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    clock: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
    tick: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    day: { day: "numeric", month: "short" },
  };
  const writers = {};
  const local = (date, name) => {
    writers[name] ??= new Intl.DateTimeFormat("en-GB", formats[name]);
    return writers[name].format(date).replaceAll(",", "");
  };
  const localise = (within) => {
    for (const time of all("time[data-time]", within)) {
      const date = new Date(time.dateTime);
      if (!isNaN(date)) time.textContent = local(date, time.dataset.time);
    }
    // The first tick of a day says which day it is.
    for (const svg of all("figure.chart svg", within)) {
      let day = "";
      for (const tick of all("text[data-tick]", svg)) {
        const date = new Date(Number(tick.dataset.tick));
        const today = local(date, "day");
        const midnight = date.getHours() === 0 && date.getMinutes() === 0;
        tick.textContent = midnight || tick.dataset.days !== undefined ? today : today === day ? local(date, "tick") : local(date, "minute");
        day = today;
      }
    }
  };
  localise(document);

  // The date fields too: shown in the reader's zone, sent as UTC.
  for (const form of all("form[data-range]")) {
    const fields = all("input[type=datetime-local]", form);
    const pad = (number) => String(number).padStart(2, "0");
    for (const field of fields) {
      const date = new Date(field.value + "Z");
      if (!isNaN(date)) field.value = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}T${pad(date.getHours())}:${pad(date.getMinutes())}`;
    }
    for (const zone of all("[data-zone]", form)) zone.textContent = "";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const target = new URL(form.action);
      for (const [name, value] of new FormData(form)) target.searchParams.append(name, fields.some((field) => field.name === name) ? new Date(value).toISOString() : value);
      location.assign(target);
    });
  }

  // Copying.
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(Object.assign(document.createElement("textarea"), { value: text, className: "hidden" }));
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.focus();
    button.classList.add("done");
    const words = button.querySelector(".hidden") ?? button;
    const before = words.textContent;
    words.textContent = "Copied";
    setTimeout(() => {
      words.textContent = before;
      button.classList.remove("done");
    }, 1500);
  };
  const copies = (within) => {
    for (const button of all("[data-copy], [data-copy-from]", within)) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent, button));
    }
  };
  copies(document);

  // A theme is there at once; the form keeps it.
  for (const form of all("form[data-themes]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const body = new URLSearchParams(new FormData(form, event.submitter));
      root.dataset.theme = event.submitter.value;
      await fetch(form.action, { method: "POST", body, redirect: "manual" });
      location.reload();
    });
  }

  // Seconds until a rate limit opens.
  for (const clock of all("[data-countdown]")) {
    const tick = () => {
      const left = Math.ceil((Number(clock.dataset.countdown) - Date.now()) / 1000);
      clock.textContent = left > 0 ? `${left} s from now` : "it is open again now";
      if (left > 0) setTimeout(tick, 500);
    };
    tick();
  }

  // Charts: what a step holds under the pointer; dragging chooses the time.
  for (const chart of all("figure.chart")) {
    const { from, step, steps } = Object.fromEntries(["from", "step", "steps"].map((name) => [name, Number(chart.dataset[name])]));
    const names = all("thead th", chart).slice(1).map((head) => head.textContent);
    const rows = new Map(all("tbody tr", chart).map((row) => [Date.parse(row.querySelector("time").dateTime), all("td", row).map((cell) => cell.textContent)]));
    const note = chart.appendChild(document.createElement("output"));
    note.hidden = true;
    for (const svg of all("svg", chart)) {
      const left = Number(svg.dataset.left), right = Number(svg.dataset.right);
      const place = (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        return Math.max(0, Math.min(1, (point.x - left) / (right - left)));
      };
      const picked = svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
      picked.setAttribute("class", "picked");
      picked.setAttribute("height", svg.viewBox.baseVal.height);
      let begun = null;
      svg.addEventListener("pointerdown", (event) => {
        if (event.button === 0 && event.pointerType === "mouse") { begun = place(event); svg.setPointerCapture(event.pointerId); }
      });
      svg.addEventListener("pointermove", (event) => {
        const here = place(event);
        if (begun !== null) {
          picked.setAttribute("x", left + Math.min(begun, here) * (right - left));
          picked.setAttribute("width", Math.abs(here - begun) * (right - left));
        }
        const at = from + Math.min(steps - 1, Math.floor(here * steps)) * step;
        const values = rows.get(at);
        note.hidden = false;
        note.textContent = [local(new Date(at), "minute"), ...(values ?? ["0"]).map((value, index) => values ? `${value} ${names[index]}` : "no errors").filter((line) => !line.startsWith("0 "))].join("\n");
        const box = chart.getBoundingClientRect();
        const x = event.clientX - box.left;
        note.style.left = `${x > box.width / 2 ? Math.max(0, x - note.offsetWidth - 16) : x + 16}px`;
      });
      svg.addEventListener("pointerleave", () => (note.hidden = true));
      svg.addEventListener("pointerup", (event) => {
        if (begun === null) return;
        const ends = [begun, place(event)].sort((a, b) => a - b);
        begun = null;
        picked.removeAttribute("width");
        if ((ends[1] - ends[0]) * steps < 1) return;
        const target = new URL(location.href);
        target.searchParams.set("from", new Date(from + Math.round(ends[0] * steps) * step).toISOString());
        target.searchParams.set("to", new Date(from + Math.round(ends[1] * steps) * step).toISOString());
        target.searchParams.delete("cursor");
        location.assign(target);
      });
    }
  }

  // Explore: rows as they come. The server writes them, escaped as on the page.
  for (const button of all("[data-tail]")) {
    const table = document.querySelector("[data-events]"), state = document.querySelector("[data-tail-state]");
    const say = (text) => { state.hidden = !text; state.textContent = text; };
    const remember = (on) => {
      const here = new URL(location.href);
      if (on) here.searchParams.set("live", "1"); else here.searchParams.delete("live");
      history.replaceState(null, "", here);
    };
    let source = null, told = 0;
    const insert = (html) => {
      const holder = document.createElement("template");
      holder.innerHTML = html;
      const row = holder.content.firstElementChild;
      row.classList.add("news");
      localise(row);
      copies(row);
      table.tBodies[0].prepend(row);
      // A page that is open for a day stays as light as it was.
      while (table.rows.length > 300) table.deleteRow(-1);
    };
    const stop = () => {
      source?.close();
      source = null;
      button.setAttribute("aria-pressed", "false");
      button.textContent = "Follow live";
      say(told ? `${told} since; no longer following.` : "");
      remember(false);
    };
    const start = () => {
      source = new EventSource(button.dataset.tail);
      button.setAttribute("aria-pressed", "true");
      button.textContent = "Stop following";
      told = 0;
      say("Following: new errors appear here some two seconds after they happen.");
      remember(true);
      source.onmessage = (event) => {
        document.querySelector("[data-empty]")?.remove();
        table.closest(".scroll").classList.remove("empty");
        told += 1;
        insert(event.data);
        say(`Following: ${told} new.`);
      };
      source.addEventListener("missed", (event) => {
        const row = document.createElement("tr"), cell = row.appendChild(document.createElement("td"));
        cell.colSpan = 6;
        row.className = "missed";
        cell.textContent = `${JSON.parse(event.data).count} more came at once and are not shown; load the page again to see them`;
        table.tBodies[0].prepend(row);
      });
      source.addEventListener("waiting", () => say("The store does not answer at the moment; what comes in meanwhile follows."));
      source.onerror = () => {
        if (source?.readyState === EventSource.CLOSED) {
          stop();
          say("Following ended: too many pages follow already, or you are signed out. Load the page again.");
        } else say("The connection is lost; trying again …");
      };
    };
    button.addEventListener("click", () => (source ? stop() : start()));
    if (button.hasAttribute("data-on")) start();
  }
  if (document.querySelector("[data-tail]")) for (const help of all("[data-without-scripts]")) help.querySelector("details").open = false;

  // What takes long to find is asked for when the rest of the page is there; its link stays where that fails.
  for (const section of all("[data-later]")) {
    const until = section.querySelector("[data-until]");
    section.setAttribute("aria-busy", "true");
    until.classList.add("faint");
    fetch(section.dataset.later).then(async (answer) => {
      // Who has been signed out since is sent to sign in.
      if (answer.redirected) return until.append(" You are signed out; load the page again.");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = answer.ok && page.querySelector("[data-part]");
      if (!part) throw new Error(`status ${answer.status}`);
      until.replaceWith(...part.childNodes);
      localise(section);
      for (const title of all("h1[data-goes-on]")) title.append(part.dataset.goesOn ?? "");
    }).catch((problem) => until.append(` That failed just now (${problem.message}).`)).finally(() => section.removeAttribute("aria-busy"));
  }

  // A download that says how far it is. What would not fit the browser's memory well is left to the browser.
  let exporting = false;
  for (const link of all("[data-export]")) {
    const total = Number(link.dataset.export), state = document.querySelector("[data-export-state]");
    // The first line of a CSV has the names.
    const heads = new URL(link.href).searchParams.get("format") === "csv" ? 1 : 0;
    link.addEventListener("click", async (event) => {
      if (total > 200000 || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (exporting) return;
      exporting = true;
      const bar = document.createElement("progress"), words = document.createElement("span");
      bar.max = Math.max(1, total);
      state.replaceChildren(bar, words);
      state.hidden = false;
      try {
        const answer = await fetch(link.href);
        if (answer.redirected) throw new Error("you are signed out");
        if (!answer.ok) throw new Error((await answer.json()).errors?.token?.[0] ?? `status ${answer.status}`);
        const parts = [], reader = answer.body.getReader();
        let lines = -heads;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          parts.push(value);
          for (const byte of value) if (byte === 10) lines += 1;
          bar.value = Math.max(0, Math.min(lines, bar.max));
          words.textContent = `${Math.max(0, lines).toLocaleString()} of ${total.toLocaleString()} events`;
        }
        const file = URL.createObjectURL(new Blob(parts));
        const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "errata-events";
        Object.assign(document.createElement("a"), { href: file, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(file), 60000);
        words.textContent = `${name} is saved.`;
        bar.remove();
      } catch (problem) {
        bar.remove();
        words.textContent = `The export ended before its end (${problem.message}); nothing is saved. Try again, or take a shorter time.`;
      } finally {
        exporting = false;
      }
    });
  }

  // Views of one's own, in this browser.
  for (const form of all("[data-save-view]")) {
    const list = document.querySelector("[data-views]"), key = "errata-views";
    const kept = () => { try { return JSON.parse(localStorage.getItem(key)) ?? []; } catch { return []; } };
    const show = () => {
      list.replaceChildren(...kept().flatMap(({ name, path }) => {
        const link = Object.assign(document.createElement("a"), { href: path, textContent: name });
        const forget = Object.assign(document.createElement("button"), { type: "button", textContent: "×", title: `Forget the view ${name}` });
        forget.dataset.forget = "";
        forget.setAttribute("aria-label", forget.title);
        forget.addEventListener("click", () => keep(kept().filter((view) => view.name !== name)));
        return [link, forget];
      }));
    };
    const keep = (views) => { localStorage.setItem(key, JSON.stringify(views)); show(); };
    show();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const here = new URL(location.href), name = form.elements[0].value.trim();
      for (const passing of ["cursor", "live"]) here.searchParams.delete(passing);
      // Only addresses of this page are kept, so that a link can lead nowhere else.
      keep([...kept().filter((view) => view.name !== name), { name, path: here.pathname + here.search }].slice(-20));
      form.reset();
    });
  }
})();
