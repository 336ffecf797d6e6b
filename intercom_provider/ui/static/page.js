// The two views of the page: the newest messages, and one task instance. The address after # says which.

import { signInUrl } from "./airflow.js";
import { link, update } from "./drawing.js";
import { List } from "./list.js";
import { readTask } from "./task.js";

const PAUSE_MS = 3000;
const parts = Object.fromEntries(
  ["back", "title", "subtitle", "notice", "content", "more"].map((id) => [id, document.getElementById(id)]),
);
// Each view has a number; what an older view still waits for is dropped.
let view = 0;
let timer = 0;
let list = null;

function say(error) {
  const words = error ? error.message : "";
  if (parts.notice.dataset.words === words) return;
  parts.notice.dataset.words = words;
  parts.notice.replaceChildren(words, ...(error?.status === 401 ? [" ", link("Sign in", signInUrl())] : []));
}

function title(words, below) {
  parts.title.textContent = words;
  parts.subtitle.textContent = below;
}

function showList(mine) {
  title("Intercom messages", "What your DAGs have sent, and what became of it. Newest first.");
  list = new List(parts, say, () => mine === view);
  return list.older();
}

async function showTask(address, mine) {
  let again = true;
  try {
    const task = await readTask(address);
    if (mine !== view) return;
    say(null);
    title(task.title, task.subtitle);
    update(parts.content, task.elements);
    again = task.isLive;
  } catch (error) {
    if (mine !== view) return;
    say(error);
    again = error.status === undefined || error.status >= 500;
  }
  parts.content.setAttribute("aria-busy", "false");
  if (again) timer = setTimeout(() => showTask(address, mine), PAUSE_MS);
}

function show() {
  view += 1;
  clearTimeout(timer);
  list?.stop();
  list = null;
  say(null);
  parts.content.replaceChildren();
  parts.content.setAttribute("aria-busy", "true");
  parts.more.replaceChildren();
  const address = window.location.hash.split("/").slice(1).map(decodeURIComponent);
  const isTask = address.length === 4;
  parts.back.hidden = !isTask;
  if (!isTask) return showList(view);
  const [dag_id, dag_run_id, task_id, map_index] = address;
  title(`${dag_id} › ${task_id}`, `Run ${dag_run_id}`);
  parts.title.focus();
  return showTask({ dag_id, dag_run_id, task_id, map_index: Number(map_index) }, view);
}

window.addEventListener("hashchange", show);
show();
