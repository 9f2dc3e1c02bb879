// Reads server-sent events from a response, however the network cut them.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

/** The data of each event. The stream may end without warning: the caller must know its end. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A carriage return at the very end may be the first half of a line's end.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        } else if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    // Leaving early, as after [DONE] or a stop, must not leave the connection open.
    await reader.cancel().catch(() => {});
  }
}
