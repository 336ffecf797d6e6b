// Reads Airflow's REST API with the viewer's own session: whoever may not read a DAG gets nothing of it.

// The API stands beside the folder of this page, whatever prefix Airflow's base URL has.
const ROOT = new URL("../", import.meta.url);
const OPERATORS = ["SendMessageBatchOperator", "SendMessageOperator", "MessageStatusSensor", "MessageReplySensor"];
const PROBLEMS = {
  401: "You are not signed in to Airflow, or your session has ended.",
  403: "Your role may not read this. Ask an administrator of Airflow for access to task instances and XComs.",
  404: "Airflow does not know this task instance. It may have been deleted.",
};

export const PAGE_SIZE = 25;
export const MAX_PAGE_SIZE = 100;

async function read(path) {
  let reply;
  try {
    reply = await fetch(new URL(`api/v2/${path}`, ROOT), {
      credentials: "same-origin",
      headers: { Accept: "application/json" },
    });
  } catch {
    throw new Error("Airflow cannot be reached. This page tries again by itself.");
  }
  if (!reply.ok) {
    const error = new Error(PROBLEMS[reply.status] ?? `Airflow answered ${reply.status}. Its API server's log says why.`);
    error.status = reply.status;
    throw error;
  }
  return reply.json();
}

const enc = encodeURIComponent;
const runPath = (row) => `dags/${enc(row.dag_id)}/dagRuns/${enc(row.dag_run_id)}`;

function ofIntercom(parameters) {
  const query = new URLSearchParams(parameters);
  for (const operator of OPERATORS) query.append("operator", operator);
  return query;
}

// Senders and waits over all DAGs, newest first.
export function newest(offset, limit) {
  const query = ofIntercom({ limit, offset, order_by: "-run_after" });
  return read(`dags/~/dagRuns/~/taskInstances?${query}`);
}

// The senders and waits of one run.
export function ofRun(row) {
  return read(`${runPath(row)}/taskInstances?${ofIntercom({ limit: 100 })}`);
}

export function one(row) {
  const mapped = row.map_index >= 0 ? `/${row.map_index}` : "";
  return read(`${runPath(row)}/taskInstances/${enc(row.task_id)}${mapped}`);
}

// The value of an XCom; null when there is none.
export async function xcom(row, key) {
  try {
    const path = `${runPath(row)}/taskInstances/${enc(row.task_id)}/xcomEntries/${enc(key)}`;
    const found = await read(`${path}?map_index=${row.map_index}`);
    return found.value;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export const isLive = (row) =>
  ["running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting"].includes(row.state);

// Where a task keeps its counts in each state. A request for what cannot be there yet would be one for nothing.
const COUNTS = {
  running: "progress",
  deferred: "progress",
  up_for_reschedule: "progress",
  up_for_retry: "return_value",
  success: "return_value",
  failed: "return_value",
};

// The counts of a task, with one request at most; null when it has none.
export async function counts(row) {
  // A batch that waits for its window has pushed what it has done; a single message has only its end to show.
  const key = row.operator === "SendMessageBatchOperator" && row.state === "deferred" ? "return_value" : COUNTS[row.state];
  if (key === undefined || (key === "progress" && row.operator === "SendMessageOperator")) return null;
  const value = await xcom(row, key);
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
}

// Where the viewer signs in, to come back to where this page is shown.
export function signInUrl() {
  const back = encodeURIComponent(window.parent.location.href);
  return new URL(`api/v2/auth/login?next=${back}`, ROOT).href;
}

export function taskUrl(row) {
  const mapped = row.map_index >= 0 ? `/mapped/${row.map_index}` : "";
  const path = `dags/${enc(row.dag_id)}/runs/${enc(row.dag_run_id)}/tasks/${enc(row.task_id)}${mapped}`;
  return new URL(path, ROOT).href;
}
