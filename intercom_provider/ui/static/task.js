// One task instance: its counts, the waits of its run, the reasons, and where to look further.

import * as airflow from "./airflow.js";
import * as draw from "./drawing.js";

const MAX_WAITS = 10;

async function card(row, heading) {
  const values = await airflow.counts(row);
  const found = draw.segments(row, values);
  const drawn = draw.el("section", { class: "card" }, draw.el("h2", { text: heading }));
  const muted = (...children) => drawn.append(draw.el("p", { class: "muted" }, ...children));
  if (found.length) drawn.append(draw.bar(found), draw.legend(found));
  else muted(airflow.isLive(row) ? "No counts yet." : "This task has left no counts.");
  if (values && airflow.isLive(row) && Number.isFinite(values.as_of)) muted(`Counted at ${draw.clock(values.as_of)}.`);
  const opens = await windowOf(row);
  if (opens) muted(`The rest waits for its window, which opens ${opens}.`);
  const reasons = draw.reasons(values);
  if (reasons.length) drawn.append(draw.reasonsTable(reasons));
  if (Array.isArray(values?.failures) && values.failures.length < values.failed) {
    muted(`Reasons of the first ${values.failures.length} of ${values.failed} failed messages; the task's results hold them all.`);
  }
  if (typeof values?.key === "string") muted("Key: ", draw.el("code", { text: values.key }));
  if (typeof values?.results_path === "string") muted("Results: ", draw.el("code", { text: values.results_path }));
  return drawn;
}

// When a deferred batch goes on.
async function windowOf(row) {
  if (row.state !== "deferred" || row.operator !== "SendMessageBatchOperator") return null;
  const waiting = await airflow.xcom(row, "waiting");
  const opens = new Date(waiting?.opens_at ?? NaN);
  return Number.isNaN(opens.getTime()) ? null : draw.moment(opens);
}

async function waitsOf(row) {
  if (!row.operator.startsWith("Send")) return [];
  const { task_instances: others } = await airflow.ofRun(row);
  return others.filter((each) => each.operator === "MessageStatusSensor");
}

async function links(row) {
  const drawn = draw.el("nav", { class: "links", "aria-label": "Where to look further" });
  drawn.append(draw.link("Log in Airflow", airflow.taskUrl(row)), draw.link("XComs and results", `${airflow.taskUrl(row)}/xcom`));
  const intercom = await airflow.xcom(row, "_link_IntercomLink");
  if (typeof intercom === "string" && intercom.startsWith("https://")) drawn.append(draw.link("Open in Intercom", intercom));
  return drawn;
}

// Read all that the view shows: its title, the line below, its elements, and whether any of it still moves.
export async function readTask(address) {
  const row = await airflow.one(address);
  const waits = await waitsOf(row);
  const shown = waits.slice(0, MAX_WAITS);
  const cards = await Promise.all([
    card(row, row.operator === "MessageStatusSensor" ? "Deliveries" : "Outcomes"),
    ...shown.map((wait) => card(wait, `Deliveries, as ${draw.taskName(wait)} sees them`)),
  ]);
  const rest = waits.length - shown.length;
  if (rest) cards.push(draw.el("p", { class: "muted", text: `${rest} more waits of this run are in the list.` }));
  return {
    title: `${row.dag_id} › ${draw.taskName(row)}`,
    subtitle: `${draw.kind(row)} of run ${row.dag_run_id}, ${draw.when(row)}, try ${row.try_number}`,
    elements: [draw.el("p", {}, draw.state(row)), ...cards, await links(row)],
    isLive: [row, ...waits].some(airflow.isLive),
  };
}
