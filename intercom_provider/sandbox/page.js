"use strict";

// Everything that a message holds is written with textContent, so that no message can become part of this page.

const REFRESH_MILLISECONDS = 2000;
const BLOCKS = "br, p, div, li, tr, h1, h2, h3, h4, h5, h6, blockquote";
let shown = "";

function add(parent, tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

// A parsed document is inert: it runs no script and loads no picture.
function readHtml(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  for (const hidden of parsed.querySelectorAll("script, style, title")) hidden.remove();
  for (const block of parsed.querySelectorAll(BLOCKS)) block.before("\n");
  for (const link of parsed.querySelectorAll("a[href]")) link.append(` (${link.getAttribute("href")})`);
  return parsed.body.textContent.trim();
}

function nameOf(person) {
  if (Array.isArray(person)) return person.map(nameOf).join(", ");
  return String(person.email ?? person.phone ?? person.user_id ?? person.id ?? "");
}

function show(message) {
  const article = document.createElement("article");
  article.className = message.message_type;
  const head = add(article, "div", "head", "");
  add(head, "span", "type", message.message_type);
  add(head, "span", "to", `to ${nameOf(message.wire.to)}`);
  for (const copy of ["cc", "bcc"]) {
    if (message.wire[copy]) add(head, "span", copy, `${copy} ${nameOf(message.wire[copy])}`);
  }
  add(head, "span", "time", new Date(message.time * 1000).toLocaleString());
  if (message.wire.template) add(head, "span", "template", `template ${message.wire.template}`);
  if (message.status) add(head, "span", "status", message.status);
  if (message.wire.subject) add(article, "p", "subject", message.wire.subject);
  const isHtml = message.message_type === "email" || message.message_type === "inapp";
  const text = message.text.join("\n\n");
  if (text) add(article, "div", "text", isHtml ? readHtml(text) : text);
  if (message.message_type === "whatsapp" && !message.whatsapp_message_id) {
    add(article, "p", "refused", `Not accepted by WhatsApp. ${message.refusal ?? ""}`);
  }
  for (const reply of message.replies) add(article, "div", "reply", reply);
  return article;
}

async function refresh() {
  const state = document.getElementById("state");
  try {
    const response = await fetch("/_sandbox/messages?last=100");
    const text = await response.text();
    if (text !== shown) {
      const found = JSON.parse(text);
      document.getElementById("messages").replaceChildren(...found.messages.reverse().map(show));
      state.textContent = `${found.total} messages, the latest ${found.messages.length} below`;
      shown = text;
    }
  } catch {
    state.textContent = "The sandbox does not answer";
    shown = "";
  }
  setTimeout(refresh, REFRESH_MILLISECONDS);
}

refresh();
