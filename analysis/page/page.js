"use strict";
// What the page can do beyond being read: sort and filter tables, say where a number comes from, browse items that changed sides.
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const tell = text => { find("#told").textContent = text; };
const plain = text => text.normalize("NFKC").toLowerCase();

// --- Tables: a click on a heading sorts by it; numbers by data-value, the rest as text; rows without a value stay last.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const name = head.textContent, button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rows = [...body.rows], numeric = rows.some(row => row.cells[column].dataset.value !== undefined);
      const now = head.getAttribute("aria-sort");
      const up = now ? now === "descending" : !numeric;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => {
        const cell = row.cells[column], value = cell.dataset.value;
        return numeric ? (value === undefined ? null : Number(value)) : cell.textContent;
      };
      rows.sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return (up ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
      });
      rows.forEach(row => row.classList.remove("block"));  // blocks are in the order of the file only
      body.append(...rows);
      tell(`Sorted by ${name}, ${up ? "ascending" : "descending"}.`);
    });
  });
}

// Every word must be in the row (rows), or in the heading of the column (columns).
function filterable(box) {
  const table = find(`#${box.dataset.table} table`), told = find(".told", box);
  const fits = (text, words) => words.every(word => plain(text).includes(word));
  const apply = () => {
    const words = kind => plain(find(`[data-filter=${kind}]`, box)?.value ?? "").split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows], wanted = words("rows");
    rows.forEach(row => { row.hidden = !fits(row.textContent, wanted); });
    const heads = [...table.tHead.rows[0].cells], named = words("columns");
    const keep = heads.map((head, column) => column === 0 || fits(head.textContent, named));
    for (const row of table.rows) [...row.cells].forEach((cell, column) => { cell.hidden = !keep[column]; });
    const shown = rows.filter(row => !row.hidden).length, columns = keep.filter(Boolean).length - 1;
    const parts = wanted.length ? [`${shown} of ${rows.length} rows`] : [];
    if (named.length) parts.push(`${columns} of ${heads.length - 1} columns`);
    told.textContent = parts.join(", ");
  };
  all("input", box).forEach(input => input.addEventListener("input", apply));
  box.hidden = false;
}

// --- Where a number comes from: on hover, on focus (one Tab stop a table, arrows inside), on a tap. Enter or a click keeps it open.
const sources = JSON.parse(find("#sources").textContent);
const origin = find("#origin");
let asked = null, kept = false, waiting = 0;

function describe(cell) {
  const parts = [make("h3", {}, `Where ${cell.textContent.trim()} comes from`)];
  for (const number of cell.dataset.from.split(" ")) {
    const of = Object.fromEntries(sources.columns.map((name, i) => [name, sources.rows[number][i]]));
    const list = make("dl");
    const line = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
    line("run_id", make("a", { href: `#run-${of.run_id}`, class: "id" }, of.run_id));
    line("checkpoint", `${of.trained_tokens.toLocaleString("en")} tokens, digest `, make("span", { class: "id" }, of.checkpoint_digest.slice(0, 16)));
    line("task", `${of.task}, version ${of.task_version}, ${of.num_fewshot}-shot`);
    line("task digest", make("span", { class: "id" }, of.prompt_digest.slice(0, 16)));
    line("metric", `${of.metric}${of.profile === "both" ? "" : ` (${of.profile})`}, ${of.num_items.toLocaleString("en")} items` +
      (of.fraction === null ? "" : `, ${of.fraction} of all`));
    line("score", String(of.score));
    parts.push(make("h4", {}, of.cell), list);
  }
  const close = make("button", { type: "button", class: "more close" }, "Close");
  close.addEventListener("click", dismiss);
  return [...parts, close];
}

function show(cell) {
  clearTimeout(waiting);
  if (asked !== cell) {
    hide();
    asked = cell;
    origin.replaceChildren(...describe(cell));
    cell.classList.add("asked");
    cell.setAttribute("aria-describedby", "origin");
  }
  origin.hidden = false;
  const box = cell.getBoundingClientRect(), width = origin.offsetWidth, height = origin.offsetHeight;
  const below = box.bottom + height + 8 < innerHeight || box.top < height + 8;
  origin.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8)) + scrollX}px`;
  origin.style.top = `${(below ? box.bottom + 4 : box.top - height - 4) + scrollY}px`;
}

function hide() {
  clearTimeout(waiting);
  asked?.classList.remove("asked");
  asked?.removeAttribute("aria-describedby");
  asked = null;
  kept = false;
  origin.hidden = true;
}

// The pointer may travel from the number into the box.
function leave() {
  clearTimeout(waiting);
  if (!kept && !asked?.matches(":focus")) waiting = setTimeout(hide, 250);
}
origin.addEventListener("mouseenter", () => clearTimeout(waiting));
origin.addEventListener("mouseleave", leave);
origin.addEventListener("click", event => { if (event.target.closest("a")) hide(); });
origin.addEventListener("keydown", event => {
  const ends = all("a, button", origin), last = event.shiftKey ? ends[0] : ends.at(-1);
  if (event.key === "Tab" && event.target === last) { event.preventDefault(); dismiss(); }
});

// Close, and give the focus back without opening again.
function dismiss() {
  const cell = asked, inside = origin.contains(document.activeElement);
  hide();
  if (inside) cell?.focus({ preventScroll: true });
  hide();
}

function traceable(table) {
  const cells = () => all("td[data-from]", table).filter(cell => !cell.hidden && !cell.parentElement.hidden);
  table.setAttribute("role", "grid");
  all("td[data-from]", table).forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
  const go = cell => {
    if (!cell) return;
    all("td[tabindex='0']", table).forEach(other => { other.tabIndex = -1; });
    cell.tabIndex = 0;
    cell.focus();
  };
  const step = (cell, key) => {
    const column = cell.cellIndex, mine = cells();
    const line = key === "ArrowUp" || key === "ArrowDown" ? mine.filter(other => other.cellIndex === column)
      : mine.filter(other => other.parentElement === cell.parentElement);
    const at = line.indexOf(cell);
    return { Home: line[0], End: line.at(-1), ArrowLeft: line[at - 1], ArrowUp: line[at - 1], ArrowRight: line[at + 1], ArrowDown: line[at + 1] }[key];
  };
  table.addEventListener("keydown", event => {
    const cell = event.target.closest("td[data-from]");
    if (!cell) return;
    if (/^(Arrow|Home|End)/.test(event.key)) go(step(cell, event.key));
    else if (event.key === "Enter" || event.key === " ") { show(cell); kept = true; find(".close", origin).focus(); }
    else return;
    event.preventDefault();
  });
  table.addEventListener("focusin", event => { const cell = event.target.closest("td[data-from]"); if (cell) show(cell); });
  table.addEventListener("focusout", event => { if (!kept && !origin.contains(event.relatedTarget)) hide(); });
  table.addEventListener("click", event => {
    const cell = event.target.closest("td[data-from]");
    if (cell) { go(cell); show(cell); kept = true; }
  });
  table.addEventListener("mouseover", event => {
    const cell = event.target.closest("td[data-from]");
    clearTimeout(waiting);
    if (cell && !kept) waiting = setTimeout(() => show(cell), 120);
  });
  table.addEventListener("mouseleave", leave);
}

// --- Items that changed sides.
function browse(box) {
  const data = JSON.parse(find("#flips-data").textContent), texts = data.texts;
  const comparison = find("#flip-comparison"), task = find("#flip-task"), search = find("#flip-search"), list = find("#flip-list");
  const tabs = all("[role=tab]", box), LONG = 600, AT_ONCE = 8;
  const groups = () => data.groups.filter(group => group.comparison === comparison.value);
  const current = () => data.groups[Number(task.value)];
  const japanese = text => /[\u3040-\u30ff\u3400-\u9fff]/.test(text) ? { lang: "ja" } : {};
  const said = text => make("dd", { class: "said", dir: "auto", ...japanese(text) });
  const block = text => {
    const place = said(text);
    if (text.length <= LONG) { place.append(text); return place; }
    const more = make("button", { type: "button", class: "more" }, `… show ${(text.length - LONG).toLocaleString("en")} more characters …`);
    more.addEventListener("click", () => { place.replaceChildren(text); place.tabIndex = -1; place.focus(); });
    place.append(text.slice(0, LONG / 2), more, text.slice(-LONG / 2));
    return place;
  };
  const short = (text, length) => {
    const line = text.replace(/\s+/g, " ").trim(), letters = [...line];
    return letters.length <= length ? line : `${letters.slice(0, length - 1).join("")}…`;
  };
  const end = (text, length) => {
    const letters = [...text.replace(/\s+/g, " ").trim()];
    return letters.length <= length ? letters.join("") : `…${letters.slice(1 - length).join("")}`;
  };
  const span = (text, kind = "span") => make(kind, { dir: "auto", ...japanese(text) }, text || "(nothing)");
  const entry = (group, row) => {
    const [prompt, reference, before, after] = row.texts.map(number => texts[number]);
    const turn = make("span", { class: "turn" }, "gold ", span(short(reference, 40), "b"), " · ", span(short(before, 40)), " → ", span(short(after, 40), "b"));
    const item = make("details", { class: "flip" }, make("summary", {}, make("span", {}, make("span", { class: "asked-for", ...japanese(prompt) }, end(prompt, 110)), turn)));
    item.addEventListener("toggle", () => {
      if (!item.open || find("dl", item)) return;
      const points = score => make("span", { class: "scored" }, ` (${(100 * score).toFixed(score % 1 ? 1 : 0)} points)`);
      item.append(make("dl", {},
        make("dt", {}, group.beginning ? "Question (after the shared beginning)" : "Question"), block(prompt),
        make("dt", {}, "Gold answer"), block(reference),
        make("dt", {}, group.baseline, points(row.scores[0])), block(before),
        make("dt", {}, group.side, points(row.scores[1])), block(after),
        make("dt", {}, "Item"), make("dd", { class: "id" }, row.id)));
    });
    return item;
  };
  const draw = () => {
    const group = current(), won = tabs[0].getAttribute("aria-selected") === "true";
    const kept = group.rows.filter(row => row.won === won), words = plain(search.value).split(/\s+/).filter(Boolean);
    const shown = kept.filter(row => { const text = plain([row.id, ...row.texts.map(i => texts[i])].join("\n")); return words.every(word => text.includes(word)); });
    find("#flip-won").textContent = `Won ${group.won}`;
    find("#flip-lost").textContent = `Lost ${group.lost}`;
    list.setAttribute("aria-labelledby", won ? "flip-won" : "flip-lost");
    list.replaceChildren(...shown.slice(0, AT_ONCE).map(row => entry(group, row)));
    const rest = shown.slice(AT_ONCE);
    if (rest.length) {
      const more = make("button", { type: "button", class: "more", id: "flip-more" }, `List ${rest.length} more`);
      more.addEventListener("click", () => {
        const entries = rest.map(row => entry(group, row));
        more.replaceWith(...entries);
        find("summary", entries[0]).focus();
      });
      list.append(more);
    }
    const many = won ? group.won : group.lost;
    find("#flip-told").replaceChildren(`${shown.length} of ${many} listed${words.length ? ` (${kept.length} on this page were searched)` : ""}; ` +
      `all ${group.won + group.lost} that changed, of ${group.items} items, are in `, make("a", { href: group.file }, decodeURIComponent(group.file)), ".");
    const sides = won ? `Wrong: ${group.baseline}. Right: ${group.side}.` : `Right: ${group.baseline}. Wrong: ${group.side}.`;
    find("#flip-means").textContent = `${sides} Below each question: the gold answer, then the first one's answer → the second one's.`;
    const beginning = find("#flip-beginning");
    beginning.hidden = !group.beginning;
    find("div", beginning)?.remove();
    if (group.beginning) beginning.append(make("div", { class: "said", ...japanese(texts[group.beginning]) }, texts[group.beginning]));
  };
  const fill = () => {
    const before = task.selectedOptions[0]?.dataset.name;
    task.replaceChildren(...groups().map(group =>
      make("option", { value: data.groups.indexOf(group), "data-name": group.task }, `${group.task}: ${group.won} won, ${group.lost} lost`)));
    const same = [...task.options].find(option => option.dataset.name === before);
    if (same) same.selected = true;
    draw();
  };
  const choose = tab => {
    tabs.forEach(other => { other.setAttribute("aria-selected", other === tab); other.tabIndex = other === tab ? 0 : -1; });
    draw();
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", event => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      choose(tabs[1 - i]);
      tabs[1 - i].focus();
      event.preventDefault();
    });
  });
  comparison.append(...[...new Set(data.groups.map(group => group.comparison))].map(name => make("option", {}, name)));
  comparison.addEventListener("change", fill);
  task.addEventListener("change", draw);
  search.addEventListener("input", draw);
  fill();
  box.hidden = false;
}

all(".scroll table").forEach(sortable);
all(".filters[data-table]").forEach(filterable);
all(".scroll table").filter(table => find("td[data-from]", table)).forEach(traceable);
document.addEventListener("keydown", event => { if (event.key === "Escape" && asked) dismiss(); });
document.addEventListener("click", event => { if (asked && !event.target.closest("td[data-from], #origin")) hide(); });
if (find("#flips-data")) browse(find(".browser"));

// A link into something folded opens it; print shows everything; a wide window has room for the contents.
const unfold = () => { const target = document.getElementById(decodeURIComponent(location.hash.slice(1))); const fold = target?.closest("details"); if (fold) { fold.open = true; target.scrollIntoView(); } };
addEventListener("hashchange", unfold);
unfold();
let folded = [];
addEventListener("beforeprint", () => { folded = all("main details:not([open])"); folded.forEach(part => { part.open = true; }); });
addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));
const wide = matchMedia("(min-width:75rem)"), contents = find(".toc details");
const fit = () => { contents.open = wide.matches; };
wide.addEventListener("change", fit);
fit();
