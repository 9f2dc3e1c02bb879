// Asks one question and follows its answer to the end: finished, refused, broken off or lost.

import { call, Refused } from "../api";
import { type Answer, type Asked, NOTHING, type Problem, type Told } from "./answer";
import { events } from "./events";
import { texts } from "./texts";

const MOST_TRIES = 100; // while the server is not ready; with its usual 5 seconds, 8 minutes

interface Chunk {
  model: string;
  elara: Told;
  choices: { delta: { content?: string }; finish_reason: string | null }[];
  error?: { message: string };
}

/** The answer as it grows. A stop ends it without another word; nothing is thrown. */
export async function* ask(asked: Asked, signal: AbortSignal): AsyncGenerator<Answer> {
  for (let tries = 1; !signal.aborted; tries++) {
    let answer = NOTHING;
    try {
      for await (answer of once(asked, signal)) yield answer;
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refused && error.status === 503 && error.retryAfter)) {
        yield { ...answer, state: "failed", problem: problemOf(error, answer.text !== "") };
        return;
      }
      if (tries === MOST_TRIES) {
        const message = `${texts.stillNotReady} ${texts.reason(error.message)}`;
        yield { ...answer, state: "failed", problem: { kind: "refused", message, until: 0 } };
        return;
      }
      const milliseconds = error.retryAfter * 1000;
      const pause = { message: error.message, until: Date.now() + milliseconds };
      yield { ...NOTHING, pause };
      await sleep(milliseconds, signal);
    }
  }
}

async function* once(asked: Asked, signal: AbortSignal): AsyncGenerator<Answer> {
  const body = JSON.stringify(asked);
  const response = await call("v1/chat/completions", { method: "POST", body, signal });
  if (!response.body) throw new SyntaxError("no body");
  let answer: Answer = { ...NOTHING };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      yield { ...answer, state: "done" };
      return;
    }
    const chunk: Chunk = JSON.parse(data);
    if (chunk.error) {
      const problem = brokenOff(texts.brokenOff(chunk.error.message));
      yield { ...answer, state: "failed", problem };
      return;
    }
    const choice = chunk.choices[0];
    answer = {
      ...answer,
      state: "writing",
      model: chunk.model,
      told: { ...answer.told, ...chunk.elara },
      text: answer.text + (choice?.delta.content ?? ""),
      cut: answer.cut || choice?.finish_reason === "length",
    };
    yield answer;
  }
  yield { ...answer, state: "failed", problem: brokenOff(texts.brokenHere) };
}

const brokenOff = (message: string): Problem => ({ kind: "broken", message, until: 0 });

/** What an error means to the person who asked. */
export function problemOf(error: unknown, begun = false): Problem {
  if (error instanceof Refused) {
    const kind = error.status === 401 ? "key" : error.status === 429 ? "limit" : "refused";
    const until = error.retryAfter ? Date.now() + 1000 * error.retryAfter : 0;
    return { kind, message: error.message, until };
  }
  // JSON that cannot be read is the server's doing; all else that fetch throws is the network's.
  if (error instanceof SyntaxError) return brokenOff(texts.unreadable);
  return { kind: "lost", message: begun ? texts.brokenHere : texts.lost, until: 0 };
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
