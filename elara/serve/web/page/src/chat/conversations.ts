// Conversations that are kept: in this browser only, one entry each, all branches of it.

import type { ExportedMessageRepository, ThreadMessage } from "@assistant-ui/react";

import { names, read, remove, write } from "../storage";
import type { Answer } from "./answer";
import { texts } from "./texts";

type Repository = ExportedMessageRepository;

export interface Conversation {
  id: string;
  title: string;
  changed: string;
  thread: Repository;
}

const BEGINNING = "elara.conversation.";

/** A name for a new one. `crypto.randomUUID` is missing where the page came without TLS. */
export const newId = () => Date.now().toString(36) + Math.random().toString(36).slice(2, 8);

/** Keep a conversation, and say what went wrong if it could not be. */
export function keep(id: string, exported: Repository): "full" | "blocked" | null {
  if (!exported.messages.length) return null;
  const messages = exported.messages.map((item) => ({
    ...item,
    message: withoutImages(item.message),
  }));
  const thread = { ...exported, messages };
  const before = parsed(read(BEGINNING + id));
  // Opening a conversation does not change it.
  if (before && JSON.stringify(before.thread) === JSON.stringify(thread)) return null;
  const title = before?.title ?? titleOf(thread); // it may have been renamed
  const conversation: Conversation = { id, title, changed: new Date().toISOString(), thread };
  return write(BEGINNING + id, JSON.stringify(conversation));
}

/** What is kept, latest first, and the names of what cannot be read. */
export function kept(): { conversations: Conversation[]; damaged: string[] } {
  const conversations: Conversation[] = [];
  const damaged: string[] = [];
  for (const name of names(BEGINNING)) {
    const found = parsed(read(name));
    if (found && BEGINNING + found.id === name) conversations.push(found);
    else damaged.push(name);
  }
  conversations.sort((a, b) => b.changed.localeCompare(a.changed));
  return { conversations, damaged };
}

/** Give a conversation another title. It takes hardly more room than before. */
export const rename = (conversation: Conversation, title: string) =>
  write(BEGINNING + conversation.id, JSON.stringify({ ...conversation, title }));

export const forget = (id: string) => remove(BEGINNING + id);
export const forgetNames = (all: string[]) => all.forEach(remove);

/** The title of a conversation: its first question, shortened. */
function titleOf(thread: Repository): string {
  const first = thread.messages.find((item) => item.message.role === "user");
  const words = first ? textOf(first.message).replace(/\s+/g, " ").trim() : "";
  return words.length > 60 ? `${words.slice(0, 59)}…` : words || texts.yourQuestion;
}

export const textOf = (message: ThreadMessage) =>
  message.content.map((part) => (part.type === "text" ? part.text : "")).join("");

/** A conversation to read: the branch that was last shown, with its sources. */
export function asMarkdown({ title, changed, thread }: Conversation): string {
  const lines = [`# ${title}`, "", `${changed}. ${texts.always}`];
  for (const message of shown(thread)) {
    lines.push("", `## ${message.role === "user" ? texts.yourQuestion : texts.answer}`, "");
    lines.push(textOf(message));
    if (lostImages(message)) lines.push("", `*${texts.image.notKept}*`);
    const answer = message.metadata.custom.answer as Answer | undefined;
    if (answer?.told) lines.push("", `*${answer.model}. ${answer.told.disclaimer}*`);
    for (const source of answer?.told?.sources ?? []) {
      lines.push("", `${source.n}. ${source.title}. ${source.url} (${source.licence})`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function shown(thread: Repository): ThreadMessage[] {
  const items = new Map(thread.messages.map((item) => [item.message.id, item]));
  const found: ThreadMessage[] = [];
  let item = items.get(thread.headId ?? thread.messages.at(-1)?.message.id ?? "");
  while (item) {
    found.unshift(item.message);
    items.delete(item.message.id); // a damaged entry may lead round in a circle
    item = items.get(item.parentId ?? "");
  }
  return found;
}

function withoutImages(message: ThreadMessage): ThreadMessage {
  if (message.role !== "user" || !message.attachments.length) return message;
  const custom = { ...message.metadata.custom, lostImages: true };
  return { ...message, attachments: [], metadata: { ...message.metadata, custom } };
}

/** Whether a question came with images, which are not kept. */
export const lostImages = (message: ThreadMessage) => message.metadata.custom.lostImages === true;

/** A kept entry, if it has the form that the page can draw; half of one would break the page. */
function parsed(text: string | null): Conversation | null {
  try {
    const found: Conversation = JSON.parse(text ?? "");
    const whole =
      typeof found.id === "string" &&
      typeof found.title === "string" &&
      typeof found.changed === "string" &&
      found.thread.messages.every(({ message }) => readable(message));
    if (!whole) return null;
    for (const item of found.thread.messages) item.message = revived(item.message);
    return found;
  } catch {
    return null;
  }
}

function readable(message: ThreadMessage): boolean {
  const answer = message.metadata.custom.answer as Answer | undefined;
  const told = answer?.told;
  return (
    typeof message.id === "string" &&
    (message.role === "user" || message.role === "assistant") &&
    message.content.every((part) => part.type === "text" && typeof part.text === "string") &&
    (!answer || typeof answer.text === "string") &&
    (!told || (Array.isArray(told.warnings) && Array.isArray(told.sources ?? []))) &&
    Array.isArray(told?.sentences ?? [])
  );
}

/** JSON has no dates; and what was being written when the page closed was stopped by that. */
function revived(message: ThreadMessage): ThreadMessage {
  const createdAt = new Date(message.createdAt);
  if (message.role !== "assistant" || message.status.type !== "running") {
    return { ...message, createdAt };
  }
  return { ...message, createdAt, status: { type: "incomplete", reason: "cancelled" } };
}
