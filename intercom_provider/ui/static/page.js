// The two views of the page: the newest messages, and one task instance. The address after # says which.

import * as airflow from "./airflow.js";
import * as draw from "./drawing.js";

const PAUSE_MS = 3000;
const parts = Object.fromEntries(
  ["back", "title", "subtitle", "notice", "content", "more"].map((id) => [id, document.getElementById(id)]),
);
// Each view has a number; what an older view still waits for is dropped.
let view = 0;
let timer = 0;

const EMPTY = [
  "No Intercom messages yet, or none that your role may see.",
  "A run of a DAG with SendMessageOperator, SendMessageBatchOperator or MessageStatusSensor appears here as soon as it has begun.",
];

function say(error) {
  parts.notice.textContent = error ? error.message : "";
}

function title(words, below) {
  parts.title.textContent = words;
  parts.subtitle.textContent = below;
}

function listRow(row) {
  const counts = draw.el("td", { class: "counts" });
  const name = draw.el("a", { href: draw.hash(row), text: draw.taskName(row) });
  const drawn = draw.el(
    "tr",
    {},
    draw.el("td", {}, draw.state(row)),
    draw.el("td", {}, name, draw.el("div", { class: "muted", text: row.dag_id })),
    draw.el("td", { text: draw.kind(row) }),
    counts,
    draw.el("td", { class: "when", text: draw.when(row) }),
  );
  return { row, drawn, counts };
}

async function fill({ row, counts }, mine) {
  const values = await airflow.counts(row);
  if (mine !== view) return;
  const found = draw.segments(row, values);
  if (found.length) counts.replaceChildren(draw.bar(found), draw.el("div", { class: "muted", text: draw.inWords(found) }));
}

function emptyList() {
  const [first, ...rest] = EMPTY;
  return draw.el("div", { class: "card" }, draw.el("h2", { text: first }), ...rest.map((text) => draw.el("p", { text })));
}

async function showList() {
  const mine = view;
  title("Intercom messages", "What your DAGs have sent, and what became of it. Newest first.");
  const head = ["State", "Task and DAG", "Kind", "Messages", "Started"].map((text) =>
    draw.el("th", { scope: "col", text, ...(text === "Started" ? { class: "when" } : {}) }),
  );
  const body = draw.el("tbody");
  const table = draw.el("table", {}, draw.el("thead", {}, draw.el("tr", {}, ...head)), body);
  const waiting = new Map();
  // Counts cost a request a row, so only rows in view ask for theirs.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const line = entry.isIntersecting ? waiting.get(entry.target) : undefined;
      if (!line) continue;
      waiting.delete(entry.target);
      seen.unobserve(entry.target);
      fill(line, mine).catch(say);
    }
  });
  let offset = 0;
  let busy = false;
  async function older() {
    if (busy) return;
    busy = true;
    try {
      const page = await airflow.newest(offset);
      if (mine !== view) return;
      say(null);
      offset += page.task_instances.length;
      for (const row of page.task_instances) {
        const line = listRow(row);
        body.append(line.drawn);
        waiting.set(line.drawn, line);
        seen.observe(line.drawn);
      }
      if (offset) parts.content.replaceChildren(table);
      else parts.content.replaceChildren(emptyList());
      const more = draw.el("button", { type: "button", text: "Show older messages" });
      more.addEventListener("click", older);
      parts.more.replaceChildren(...(page.task_instances.length < airflow.PAGE_SIZE ? [] : [more]));
      if (parts.more.firstChild) end.observe(more);
    } catch (error) {
      if (mine === view) say(error);
    } finally {
      busy = false;
      if (mine === view) parts.content.setAttribute("aria-busy", "false");
    }
  }
  // The button is for the keyboard; scrolling to it is enough.
  const end = new IntersectionObserver((entries) => {
    if (mine === view && window.scrollY > 0 && entries.some((entry) => entry.isIntersecting)) older();
  });
  await older();
}

async function card(row, heading) {
  const values = await airflow.counts(row);
  const found = draw.segments(row, values);
  const drawn = draw.el("section", { class: "card" }, draw.el("h2", { text: heading }));
  if (found.length) drawn.append(draw.bar(found), draw.legend(found));
  else drawn.append(draw.el("p", { class: "muted", text: airflow.isLive(row) ? "No counts yet." : "This task has left no counts." }));
  const reasons = draw.reasons(values);
  if (reasons.length) drawn.append(draw.reasonsTable(reasons));
  if (Array.isArray(values?.failures) && values.failures.length < values.failed) {
    const text = `Reasons of the first ${values.failures.length} of ${values.failed} failed messages; the task's results hold them all.`;
    drawn.append(draw.el("p", { class: "muted", text }));
  }
  if (typeof values?.key === "string") drawn.append(draw.el("p", { class: "muted" }, "Key: ", draw.el("code", { text: values.key })));
  if (typeof values?.results_path === "string") {
    drawn.append(draw.el("p", { class: "muted" }, "Results: ", draw.el("code", { text: values.results_path })));
  }
  return drawn;
}

async function links(row) {
  const drawn = draw.el("nav", { class: "links", "aria-label": "Where to look further" });
  drawn.append(draw.link("Log in Airflow", airflow.taskUrl(row)), draw.link("XComs and results", `${airflow.taskUrl(row)}/xcom`));
  const intercom = await airflow.xcom(row, "_link_IntercomLink");
  if (typeof intercom === "string" && intercom.startsWith("https://")) drawn.append(draw.link("Open in Intercom", intercom));
  return drawn;
}

async function showOne(address) {
  const mine = view;
  const row = await airflow.one(address);
  const others = row.operator.startsWith("Send") ? (await airflow.ofRun(row)).task_instances : [];
  const waits = others.filter((each) => each.operator === "MessageStatusSensor");
  const cards = [await card(row, row.operator === "MessageStatusSensor" ? "Deliveries" : "Outcomes")];
  for (const wait of waits) cards.push(await card(wait, `Deliveries, as ${draw.taskName(wait)} sees them`));
  const further = await links(row);
  if (mine !== view) return;
  say(null);
  title(`${row.dag_id} › ${draw.taskName(row)}`, `${draw.kind(row)} of run ${row.dag_run_id}, ${draw.when(row)}, try ${row.try_number}`);
  parts.content.replaceChildren(draw.el("p", {}, draw.state(row)), ...cards, further);
  parts.content.setAttribute("aria-busy", "false");
  if ([row, ...waits].some(airflow.isLive)) timer = setTimeout(() => repeat(address, mine), PAUSE_MS);
}

async function repeat(address, mine) {
  try {
    if (mine === view) await showOne(address);
  } catch (error) {
    if (mine !== view) return;
    say(error);
    if (error.status === undefined || error.status >= 500) timer = setTimeout(() => repeat(address, mine), PAUSE_MS);
  } finally {
    if (mine === view) parts.content.setAttribute("aria-busy", "false");
  }
}

function show() {
  view += 1;
  clearTimeout(timer);
  say(null);
  parts.content.replaceChildren();
  parts.content.setAttribute("aria-busy", "true");
  parts.more.replaceChildren();
  const address = window.location.hash.split("/").slice(1).map(decodeURIComponent);
  const isOne = address.length === 4;
  parts.back.hidden = !isOne;
  if (!isOne) return showList();
  const [dag_id, dag_run_id, task_id, map_index] = address;
  title(`${dag_id} › ${task_id}`, `Run ${dag_run_id}`);
  parts.title.focus();
  return repeat({ dag_id, dag_run_id, task_id, map_index: Number(map_index) }, view);
}

window.addEventListener("hashchange", show);
show();
