// What test_intercom_client.py runs: Intercom's client for Node.js against the sandbox at SANDBOX_URL.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const { IntercomClient } = createRequire(process.env.NODE_MODULES + "/")("intercom-client");
const url = process.env.SANDBOX_URL;
const client = new IntercomClient({ token: process.env.SANDBOX_TOKEN, baseUrl: url, environment: url });

async function eventually(find) {
  for (let tries = 0; tries < 300; tries++) {
    const found = await find();
    if (found.length) return found;
    await sleep(50);
  }
  throw new Error("nothing was found");
}

async function search(room, field, value) {
  const found = [];
  for await (const each of await room.search({ query: { field, operator: "=", value } })) found.push(each);
  return found;
}

const contact = await client.contacts.create({ email: "ada@example.com", name: "Ada" });
const message = await client.messages.create({
  message_type: "inapp",
  body: "Hello",
  from: { type: "admin", id: 814860 },
  to: { type: "user", id: contact.id },
});
const [found] = await eventually(() => search(client.contacts, "email", "ada@example.com"));
const replied = await fetch(`${url}/_sandbox/reply`, {
  method: "POST",
  body: JSON.stringify({ message_id: message.id, body: "Yes, please" }),
});
const { conversation_id } = await replied.json();
const [listed] = await eventually(() => search(client.conversations, "source.id", message.id));
const conversation = await client.conversations.find({ conversation_id });
const refusal = await client.contacts.find({ contact_id: "unknown-1" }).catch((error) => error.statusCode);
const [part] = conversation.conversation_parts.conversation_parts;
console.log(
  JSON.stringify({
    created: contact.id,
    messaged: message.body,
    found: found.id,
    listed: listed.id,
    read: conversation.id,
    reply: part.body,
    author: part.author.id,
    refusal,
  }),
);
