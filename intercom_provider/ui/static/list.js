// The list of senders and waits: each row's counts cost a request, so only rows in view ask for theirs.

import * as airflow from "./airflow.js";
import * as draw from "./drawing.js";

const MIN_PAUSE_MS = 5000;
const IDLE_PAUSE_MS = 30000;
const HEAD = [["State"], ["Task and DAG"], ["Kind", "kind"], ["Messages"], ["Started", "when"]];
const EMPTY = [
  "No Intercom messages yet, or none that your role may see.",
  "A run of a DAG with SendMessageOperator, SendMessageBatchOperator or MessageStatusSensor appears here as soon as it has begun.",
];

function emptyList() {
  const [first, ...rest] = EMPTY;
  return draw.el("div", { class: "card" }, draw.el("h2", { text: first }), ...rest.map((text) => draw.el("p", { text })));
}

const mark = (row) => `${row.state} ${row.try_number}`;

export class List {
  // `parts` are the elements of the page; `isShown` is false once another view has replaced this one.
  constructor(parts, say, isShown) {
    this.parts = parts;
    this.say = say;
    this.isShown = isShown;
    this.lines = new Map();
    this.body = draw.el("tbody");
    const head = HEAD.map(([text, name]) => draw.el("th", { scope: "col", text, ...(name && { class: name }) }));
    this.table = draw.el("table", {}, draw.el("thead", {}, draw.el("tr", {}, ...head)), this.body);
    this.more = draw.el("button", { type: "button", text: "Show older messages" });
    this.more.addEventListener("click", () => this.older());
    this.busy = false;
    this.rows = new IntersectionObserver((entries) => this.see(entries));
    // The button is for the keyboard; scrolling to it is enough.
    this.end = new IntersectionObserver((entries) => {
      if (window.scrollY > 0 && entries.some((entry) => entry.isIntersecting)) this.older();
    });
    this.end.observe(this.more);
  }

  stop() {
    clearTimeout(this.timer);
    this.rows.disconnect();
    this.end.disconnect();
  }

  async older() {
    await this.read(this.lines.size, airflow.PAGE_SIZE);
    this.schedule();
  }

  // Read the newest rows again. As many as one request holds; rows that are older yet keep what they show.
  async refresh() {
    const size = Math.ceil(this.lines.size / airflow.PAGE_SIZE) * airflow.PAGE_SIZE;
    if (!document.hidden) await this.read(0, Math.min(Math.max(size, airflow.PAGE_SIZE), airflow.MAX_PAGE_SIZE));
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    if (!this.isShown()) return;
    const isMoving = [...this.lines.values()].some((line) => airflow.isLive(line.row));
    this.timer = setTimeout(() => this.refresh(), isMoving ? MIN_PAUSE_MS : IDLE_PAUSE_MS);
  }

  async read(offset, limit) {
    if (this.busy) return;
    this.busy = true;
    try {
      const page = await airflow.newest(offset, limit);
      if (!this.isShown()) return;
      this.say(this.refusal ?? null);
      this.show(page.task_instances, offset);
      if (offset + page.task_instances.length >= this.lines.size) {
        this.parts.more.replaceChildren(...(page.task_instances.length < limit ? [] : [this.more]));
      }
      // Rows in view whose counts have changed since.
      await Promise.all([...this.lines.values()].map((line) => this.fill(line)));
    } catch (error) {
      if (this.isShown()) this.say(error);
    } finally {
      this.busy = false;
      if (this.isShown()) this.parts.content.setAttribute("aria-busy", "false");
    }
  }

  show(rows, offset) {
    rows.forEach((row, index) => {
      const key = draw.hash(row);
      const line = this.lines.get(key) ?? this.add(key, row);
      if (mark(line.row) !== mark(row) || airflow.isLive(row)) line.isStale = true;
      line.row = row;
      draw.update(line.state, [draw.state(row)]);
      line.when.textContent = draw.when(row);
      const there = this.body.children[offset + index];
      if (there !== line.drawn) this.body.insertBefore(line.drawn, there ?? null);
    });
    if (!this.lines.size) draw.update(this.parts.content, [emptyList()]);
    else if (!this.table.isConnected) this.parts.content.replaceChildren(this.table);
  }

  add(key, row) {
    const line = { row, isStale: true, isSeen: false };
    line.state = draw.el("td");
    line.counts = draw.el("td", { class: "counts" });
    line.when = draw.el("td", { class: "when" });
    const name = draw.el("a", { href: key, text: draw.taskName(row) });
    const where = draw.el("div", { class: "muted", text: `${row.dag_id}, run ${row.dag_run_id}` });
    const kind = draw.el("td", { class: "kind", text: draw.kind(row) });
    line.drawn = draw.el("tr", {}, line.state, draw.el("td", { class: "name" }, name, where), kind, line.counts, line.when);
    this.lines.set(key, line);
    line.drawn.dataset.key = key;
    this.rows.observe(line.drawn);
    return line;
  }

  see(entries) {
    const lines = entries.map((entry) => {
      const line = this.lines.get(entry.target.dataset.key);
      line.isSeen = entry.isIntersecting;
      return line;
    });
    Promise.all(lines.map((line) => this.fill(line)))
      // For whoever measures how long the page takes, such as the browser's own tools.
      .then(() => performance.mark("intercom-rows-in-view"))
      .catch((error) => this.isShown() && this.say(error));
  }

  async fill(line) {
    if (!line.isSeen || !line.isStale) return;
    line.isStale = false;
    const row = line.row;
    let values;
    try {
      values = await airflow.counts(row);
    } catch (error) {
      // A refusal stays one. After any other error the counts are read again with the rows.
      if (error.status === 403) this.refusal = error;
      else line.isStale = true;
      throw error;
    }
    if (!this.isShown() || mark(row) !== mark(line.row)) return;
    const found = draw.segments(row, values);
    draw.update(line.counts, found.length ? [draw.bar(found), draw.el("div", { class: "muted", text: draw.inWords(found) })] : []);
  }
}
