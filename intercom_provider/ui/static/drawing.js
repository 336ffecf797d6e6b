// Draws. Whatever comes from a DAG, from Intercom or from a recipient becomes text, never HTML.

const OUTCOMES = [
  ["sent", "sent", "good"],
  ["already_sent", "already sent before", "better"],
  ["claimed", "claimed by another run", "calm"],
  ["suppressed", "suppressed", "calm"],
  ["duplicates", "duplicates", "calm"],
  ["dry_run", "dry run", "calm"],
  ["unconfirmed", "unconfirmed", "warn"],
  ["expired", "expired", "warn"],
  ["not_sent", "not sent", "warn"],
  ["rejected", "rejected", "bad"],
];
const KINDS = {
  SendMessageBatchOperator: "Batch",
  SendMessageOperator: "Message",
  MessageStatusSensor: "Wait for delivery",
  MessageReplySensor: "Wait for an answer",
};
const number = new Intl.NumberFormat("en");
const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export function el(name, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = String(text);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Give an element these children and keep those of its own that are alike, so that bars move and the focus stays.
export function update(shown, children) {
  children.forEach((wanted, index) => {
    const there = shown.childNodes[index];
    if (there === undefined) shown.append(wanted);
    else if (there.isEqualNode(wanted)) return;
    else if (there.nodeName !== wanted.nodeName || there.nodeType !== Node.ELEMENT_NODE) there.replaceWith(wanted);
    else {
      for (const name of there.getAttributeNames()) if (!wanted.hasAttribute(name)) there.removeAttribute(name);
      for (const name of wanted.getAttributeNames()) {
        // The policy blocks the attribute, not the property.
        if (name === "style") there.style.cssText = wanted.style.cssText;
        else there.setAttribute(name, wanted.getAttribute(name));
      }
      update(there, [...wanted.childNodes]);
    }
  });
  while (shown.childNodes.length > children.length) shown.lastChild.remove();
}

const count = (value) => (Number.isFinite(value) && value > 0 ? value : 0);

// The segments of a bar: [words, number, colour].
export function segments(row, values) {
  if (!values) return [];
  let found = [];
  if (row.operator === "MessageStatusSensor") {
    const read = count(values.read);
    const failed = count(values.failed);
    const delivered = count(values.delivered);
    const total = count(values.total);
    found = [
      ["read", read, "better"],
      ["delivered", delivered, "good"],
      ["on their way", Math.max(0, total - read - delivered - failed), "wait"],
      ["failed", failed, "bad"],
    ];
  } else if (row.operator === "SendMessageBatchOperator") {
    found = OUTCOMES.map(([key, words, colour]) => [words, count(values[key]), colour]);
    const done = found.reduce((sum, [, each]) => sum + each, 0);
    found.push(["to come", Math.max(0, count(values.total) - done), "wait"]);
  } else if (typeof values.outcome === "string") {
    const [, words, colour] = OUTCOMES.find(([key]) => key === values.outcome) ?? ["", values.outcome, "wait"];
    found = [[words, 1, colour]];
  }
  return found.filter(([, each]) => each > 0);
}

export const inWords = (parts) => parts.map(([words, each]) => `${number.format(each)} ${words}`).join(", ");

export function bar(parts) {
  const drawn = el("div", { class: "bar", role: "img", "aria-label": inWords(parts) || "no counts yet" });
  for (const [, each, colour] of parts) {
    const part = el("span", { class: colour });
    part.style.flexGrow = each;
    drawn.append(part);
  }
  return drawn;
}

export function legend(parts) {
  const items = parts.map(([words, each, colour]) =>
    el("li", {}, el("i", { class: colour, "aria-hidden": "true" }), el("b", { text: number.format(each) }), ` ${words}`),
  );
  return el("ul", { class: "legend" }, ...items);
}

export function state(row) {
  const name = row.state ?? "not started";
  return el("span", { class: `state ${/^\w+$/.test(name) ? name : ""}`.trim(), text: name.replaceAll("_", " ") });
}

export const kind = (row) => KINDS[row.operator] ?? row.operator;
export const taskName = (row) => (row.map_index >= 0 ? `${row.task_id} [${row.map_index}]` : row.task_id);
export const moment = (date) => time.format(date);
export const when = (row) => {
  const at = row.start_date ?? row.run_after;
  return at ? moment(new Date(at)) : "";
};

export const clock = (seconds) => timeOfDay.format(new Date(seconds * 1000));

export function hash(row) {
  return `#/${[row.dag_id, row.dag_run_id, row.task_id, row.map_index].map(encodeURIComponent).join("/")}`;
}

// The reasons of a batch, or the failures of a wait: [words, number].
export function reasons(values) {
  const found = values?.reasons ?? values?.failures ?? [];
  const rows = Array.isArray(found) ? found : Object.entries(found).map(([reason, each]) => ({ reason, count: each }));
  const counted = new Map();
  for (const each of rows) {
    const words = typeof each === "object" && each !== null ? (each.reason ?? each.error ?? each.status ?? "unknown") : each;
    counted.set(String(words), (counted.get(String(words)) ?? 0) + (count(each?.count) || 1));
  }
  if (!counted.size && typeof values?.reason === "string") counted.set(values.reason, 1);
  return [...counted].sort((one, other) => other[1] - one[1]);
}

export function reasonsTable(rows) {
  const head = el("tr", {}, el("th", { scope: "col", text: "Reason" }), el("th", { scope: "col", class: "number", text: "Messages" }));
  const lines = rows.map(([words, each]) =>
    el("tr", {}, el("td", { text: words }), el("td", { class: "number", text: number.format(each) })),
  );
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines));
}

// In Airflow's frame the browser blocks links that leave it, so the frame's owner follows them.
export function link(words, url) {
  const drawn = el("a", { href: url, text: words, rel: "noopener" });
  drawn.addEventListener("click", (event) => {
    if (window.parent === window) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = drawn.href;
    outside.rel = "noopener";
    outside.target = new URL(drawn.href).origin === window.location.origin ? "_self" : "_blank";
    outside.click();
  });
  return drawn;
}
