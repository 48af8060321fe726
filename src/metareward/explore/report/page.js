"use strict";
// The page's own script. Texts that models wrote are only ever set as text nodes.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const root = document.documentElement;

  // --- theme: the system's, or the one chosen ---
  const themes = ["system", "light", "dark"];
  const themeButton = document.getElementById("theme");
  const setTheme = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    themeButton.textContent = `Theme: ${theme}`;
    themeButton.dataset.theme = theme;
  };
  themeButton.hidden = false;
  setTheme("system");
  themeButton.addEventListener("click", () =>
    setTheme(themes[(themes.indexOf(themeButton.dataset.theme) + 1) % themes.length]),
  );

  // --- small helpers ---
  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const fixed = (value) => (value === undefined || value === null ? "none" : Number(value).toFixed(2));
  const count = (value) => Number(value).toLocaleString("en-US");
  // Control characters and those that reorder text are shown by their number, so that nothing hides in a text.
  const hidden =
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\u{e0000}-\u{e007f}]/gu;
  const literal = (value, element) => {
    const text = typeof value === "string" ? value : value.text;
    let last = 0;
    for (const match of text.matchAll(hidden)) {
      element.append(text.slice(last, match.index));
      const number = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      element.append(make("span", "control", `U+${number}`));
      last = match.index + match[0].length;
    }
    element.append(text.slice(last));
    if (value.chars) {
      element.append(make("span", "cut", `${count(value.chars - value.text.length)} more characters are not shown`));
    }
    return element;
  };
  const box = (value, label) => {
    if (value === undefined || value === null) return make("p", "nothing", "No text was written.");
    const element = literal(value, make("div", "text"));
    element.dir = "auto";
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", label);
    return element;
  };
  const plain = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : value.text);
  const section = (title, note, ...children) =>
    make("section", "part", make("h4", "", title, note ? make("span", "note", note) : null), ...children);

  // --- charts ---
  const config = {
    background: null,
    font: "inherit",
    view: { stroke: null },
    axis: {
      labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line-strong)",
      tickColor: "var(--line-strong)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelPadding: 6,
      titlePadding: 8, labelOverlap: true,
    },
    axisX: { grid: false },
    axisY: { domain: false, ticks: false },
    legend: {
      labelColor: "var(--ink)", titleColor: "var(--soft)", orient: "bottom", direction: "horizontal", labelFontSize: 12,
      symbolStrokeWidth: 2, offset: 8, columnPadding: 14, labelLimit: 260,
    },
    line: { strokeCap: "round" },
  };
  const draw = async (name, { spec, rows, label, height }) => {
    const place = document.getElementById(`chart-${name}`);
    const whole = {
      $schema: "https://vega.github.io/schema/vega-lite/v5.json",
      description: label,
      width: "container",
      height: height || 220,
      autosize: { type: "fit-x", contains: "padding" },
      padding: { left: 10, right: 8, top: 5, bottom: 5 },
      data: { values: rows },
      ...spec,
    };
    await vegaEmbed(place, whole, {
      ast: true, actions: false, renderer: "svg", config, defaultStyle: false,
      tooltip: { theme: "report", disableDefaultStyle: true },
    });
    place.querySelector("svg")?.setAttribute("focusable", "false");
  };
  const drawAll = async () => {
    for (const [name, chart] of Object.entries(read("charts"))) {
      try {
        await draw(name, chart);
      } catch (error) {
        console.error(name, String(error));
        document.getElementById(`chart-${name}`).textContent = "This chart could not be drawn; its table is below.";
      }
      await new Promise((resolve) => setTimeout(resolve));
    }
    root.dataset.drawn = "true";
  };

  // --- one item ---
  const verdicts = { a: "row's judgment won", b: "column's judgment won", "-": "no readable verdict", " ": "no battle" };
  const matrix = (item) => {
    const fighters = item.judgments.filter((judgment) => judgment.elo !== undefined);
    const name = (k) => `J${k + 1}`;
    const head = make("tr", "", make("th", "", "first \\ second"), ...fighters.map((_, k) => {
      const cell = make("th", "", name(k));
      cell.scope = "col";
      return cell;
    }), make("th", "", "Elo"));
    const rows = item.battles.map((winners, row) => {
      const first = make("th", "", name(row));
      first.scope = "row";
      const cells = [...winners].map((winner, column) => {
        const same = row === column;
        const cell = make("td", same ? "same" : { a: "won", b: "lost", "-": "open", " ": "same" }[winner]);
        cell.textContent = same ? "" : { a: "1st", b: "2nd", "-": "?", " ": "" }[winner];
        if (!same) cell.title = `${name(row)} first, ${name(column)} second: ${verdicts[winner]}`;
        return cell;
      });
      return make("tr", "", first, ...cells, make("td", "number", fixed(fighters[row].elo)));
    });
    const table = make("table", "matrix", make("thead", "", head), make("tbody", "", ...rows));
    const scroll = make("div", "scroll", table);
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", "Battle matrix");
    return make("div", "", make("p", "note", "Row: the judgment that stood first. 1st, 2nd: which of the two won; ?: no readable verdict."), scroll);
  };
  const judgmentList = (judgments, marks = {}) =>
    make("ol", "judgments", ...judgments.map((judgment, k) => {
      const score = judgment.score === undefined ? `no score: ${(judgment.reason || "unknown").replaceAll("_", " ")}` : `score ${judgment.score}`;
      const elo = judgment.elo === undefined ? null : ` · Elo ${fixed(judgment.elo)}`;
      const mark = marks[judgment.id] ? make("span", `tag ${marks[judgment.id]}`, marks[judgment.id]) : null;
      return make("li", "", make("p", "head", make("b", "", `J${k + 1}`), ` ${score}`, elo, mark, make("code", "", judgment.id)), box(judgment.text, `Judgment ${k + 1}`));
    }));
  const side = (item, name) => {
    const one = item[name];
    const note = `score ${fixed(one.score)} · ${count(one.chars)} characters${one.cut ? " · cut at max_tokens" : ""}`;
    const judgments = make("details", "inner", make("summary", "", `${one.judgments.length} judgments: ${one.judgments.map((j) => j.score ?? "–").join(", ")}`));
    judgments.addEventListener("toggle", () => judgments.childElementCount > 1 || judgments.append(judgmentList(one.judgments)), { once: true });
    return make("div", `side ${name}`, section(name === "chosen" ? "Chosen" : "Rejected", note, box(one.text, `${name} response`), judgments, make("p", "id", make("code", "", one.id))));
  };
  const body = (item) => {
    const parts = [section("Prompt", null, box(item.prompt, "Prompt"))];
    if (item.role === "actor" && !item.reason) {
      parts.push(make("div", "sides", side(item, "chosen"), side(item, "rejected")));
    } else if (!item.reason) {
      const marks = { [item.chosen.id]: "chosen", [item.rejected.id]: "rejected" };
      const lengths = `chosen ${count(item.chosen.chars)}, rejected ${count(item.rejected.chars)} characters`;
      parts.push(section("Response that was judged", null, box(item.response, "Response")));
      parts.push(section("Battles", null, matrix(item)));
      parts.push(section("Judgments", lengths, judgmentList(item.judgments, marks)));
    } else {
      parts.push(section("Why there is no pair", null, make("p", "", item.reason.replaceAll("_", " "))));
    }
    parts.push(make("p", "id", item.reason ? "prompt " : "pair ", make("code", "", item.id), ". In a terminal: ", make("code", "", `metareward trace ${item.id}`)));
    return parts;
  };

  // --- the list of items ---
  const items = read("items");
  const list = document.getElementById("list");
  const form = document.getElementById("filters");
  const said = document.getElementById("found");
  const more = document.getElementById("more");
  const PAGE = 40;
  let found = [], shown = 0;
  const key = (item) => `${item.iteration}-${item.role}-${item.id}`;
  const entry = (item) => {
    const element = make("details", "pair");
    element.id = key(item);
    const start = plain(item.prompt).slice(0, 160).replace(/\s+/g, " ");
    const kind = make("span", `tag ${item.role}`, `${item.iteration} ${item.role}`);
    const number = item.reason ? make("span", "reason", item.reason.replaceAll("_", " ")) : make("span", "number", make("span", "unit", "margin "), fixed(item.margin));
    const title = literal(start, make("bdi", "start"));
    title.dir = "auto";
    element.append(make("summary", "", kind, title, number));
    element.addEventListener("toggle", () => {
      if (element.open && element.childElementCount === 1) element.append(make("div", "body", ...body(item)));
    });
    return element;
  };
  const showMore = () => {
    list.append(...found.slice(shown, shown + PAGE).map(entry));
    shown = Math.min(found.length, shown + PAGE);
    more.hidden = shown >= found.length;
    more.textContent = `Show more (${count(found.length - shown)} left)`;
  };
  const haystack = (item) =>
    (item.haystack ??= [item.id, plain(item.prompt), plain(item.response), plain(item.chosen?.text), plain(item.rejected?.text), item.chosen?.id ?? "", item.rejected?.id ?? "",
      ...(item.role === "judge" ? item.judgments ?? [] : []).map((judgment) => plain(judgment.text))].join("\n").toLowerCase());
  const orders = {
    run: null,
    "margin-down": (a, b) => (b.margin ?? -Infinity) - (a.margin ?? -Infinity),
    "margin-up": (a, b) => (a.margin ?? Infinity) - (b.margin ?? Infinity),
  };
  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const text = wanted.search.trim().toLowerCase();
    found = items.filter((item) =>
      (!wanted.iteration || item.iteration === wanted.iteration) &&
      (!wanted.role || item.role === wanted.role) &&
      (!wanted.reason || (wanted.reason === "pair" ? !item.reason : item.reason === wanted.reason)) &&
      (!text || haystack(item).includes(text)));
    const order = orders[wanted.order];
    if (order) found.sort(order);
    list.replaceChildren();
    shown = 0;
    showMore();
    said.textContent = found.length ? `${count(found.length)} of ${count(items.length)} shown` : "Nothing matches.";
  };
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  more.addEventListener("click", showMore);
  filter();

  const battles = document.getElementById("matrix");
  const example = items.find((item) => item.battles && item.battles.length);
  if (example) {
    const lead = literal(plain(example.prompt).slice(0, 300), make("bdi", ""));
    lead.dir = "auto";
    battles.replaceChildren(matrix(example), make("p", "note", `${example.iteration}, prompt: “`, lead, "”"));
  }
  const open = () => {
    const item = items.find((one) => key(one) === decodeURIComponent(location.hash.slice(1)));
    if (!item) return;
    form.reset();
    filter();
    while (!document.getElementById(key(item)) && shown < found.length) showMore();
    const element = document.getElementById(key(item));
    element.open = true;
    element.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
  requestAnimationFrame(() => setTimeout(drawAll));
})();
