// Between the thread that assistant-ui keeps and the requests that the server takes.

import type {
  ChatModelAdapter,
  ChatModelRunResult,
  ThreadAssistantMessage,
  ThreadMessage,
} from "@assistant-ui/react";

import { type Answer, type Asked, NOTHING, type Part, type Turn } from "./answer";
import { ask } from "./ask";
import { textOf } from "./conversations";

/** The turns to send for the last question: of those before it, only the ones with an answer. */
export function turns(messages: readonly ThreadMessage[]): Turn[] {
  const found: Turn[] = [];
  messages.forEach((message, at) => {
    if (message.role !== "user") return;
    const question: Turn = { role: "user", content: contentOf(message) };
    if (at === messages.length - 1) {
      found.push(question);
      return;
    }
    const answer = textOf(messages[at + 1]!);
    // A question of images alone is empty once they are gone.
    if (messages[at + 1]!.role === "assistant" && answer.trim() && question.content) {
      found.push(question, { role: "assistant", content: answer });
    }
  });
  return found;
}

function contentOf(message: ThreadMessage): string | Part[] {
  const text = textOf(message).trim();
  const images = (message.attachments ?? [])
    .flatMap((attachment) => attachment.content)
    .flatMap((part): Part[] =>
      part.type === "image" ? [{ type: "image_url", image_url: { url: part.image } }] : [],
    );
  if (!images.length) return text;
  return text ? [{ type: "text", text }, ...images] : images;
}

/** The answer that a message holds, with what became of it. */
export function answerOf(message: { metadata: { custom: Record<string, unknown> } }): Answer {
  return (message.metadata.custom.answer as Answer | undefined) ?? NOTHING;
}

export const wasStopped = (message: Pick<ThreadAssistantMessage, "status">) =>
  message.status.type === "incomplete" && message.status.reason === "cancelled";

interface Watcher {
  request(turns: Turn[]): Asked;
  began(): void;
  ended(answer: Answer, stopped: boolean): void;
}

/** Answers the thread's questions. `watch` gives the watcher of the moment, as choices change. */
export function adapter(watch: () => Watcher): ChatModelAdapter {
  return {
    async *run({ messages, abortSignal }) {
      let answer = NOTHING;
      watch().began();
      try {
        for await (answer of ask(watch().request(turns(messages)), abortSignal)) {
          yield resultOf(answer);
        }
      } finally {
        watch().ended(answer, abortSignal.aborted);
      }
    },
  };
}

function resultOf(answer: Answer): ChatModelRunResult {
  const result = {
    content: [{ type: "text" as const, text: answer.text }],
    metadata: { custom: { answer } },
  };
  if (answer.state === "done") return { ...result, status: { type: "complete", reason: "stop" } };
  if (answer.state !== "failed") return result;
  const error = answer.problem!.message;
  return { ...result, status: { type: "incomplete", reason: "error", error } };
}
