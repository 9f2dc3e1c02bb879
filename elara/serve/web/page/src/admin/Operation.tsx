// Who answers elsewhere, how long the queue is, which keys there are, and whether the log is whole.

import { useState } from "react";

import { get } from "../api";
import type { Audited, Key, Queue, Upstream } from "./answers";
import { refusal, useAsked } from "./asked";
import { Part, Table } from "./Part";

const QUEUE_SECONDS = 5;

export function QueuePart() {
  return (
    <Part title="Queue" asked={useAsked<Queue>("admin/queue", QUEUE_SECONDS)}>
      {(queue) => (
        <>
          <dl>
            <div><dt>Being answered</dt><dd>{queue.writing}</dd></div>
            <div><dt>Waiting</dt><dd>{queue.waiting} of at most {queue.queue_limit}</dd></div>
            <div><dt>Model</dt><dd>{queue.ready ? "ready" : queue.state}</dd></div>
          </dl>
          <p className="soft">Asked for every {QUEUE_SECONDS} seconds while this page is in front.</p>
        </>
      )}
    </Part>
  );
}

export function Upstreams() {
  return (
    <Part title="Servers elsewhere" asked={useAsked<Upstream[]>("admin/upstreams", 30)}>
      {(upstreams) =>
        upstreams.length === 0 ? (
          <p>None: this server answers by itself.</p>
        ) : (
          <Table
            label="Table of servers elsewhere"
            head={["Address", "Model", "State", "Being answered", "Answered", "Failed"]}
            rows={upstreams.map((u) => [
              u.url, u.model, u.problem || "in service", u.under_way, u.answered, u.failed,
            ])}
          />
        )
      }
    </Part>
  );
}

export function Keys() {
  return (
    <Part title="Keys" asked={useAsked<Key[]>("admin/keys")}>
      {(keys) => (
        <>
          {keys.length > 0 && (
            <Table
              label="Table of keys"
              head={["Name", "Id", "Opens", "State", "Made", "Expires", "Requests a minute",
                "Tokens a day", "Tokens today"]}
              rows={keys.map((key) => [
                key.name,
                <code>{key.id}</code>,
                key.scopes.join(", "),
                key.state,
                day(key.created),
                key.expires ? day(key.expires) : "never",
                limit(key.requests_per_minute),
                limit(key.tokens_per_day),
                key.tokens_today?.toLocaleString("en") ?? "not known",
              ])}
            />
          )}
          <p className="soft">
            <code>elara keys add</code>, <code>rotate</code> and <code>revoke</code> change them.
            What a key opens with is shown once, when it is made, and kept nowhere.
          </p>
        </>
      )}
    </Part>
  );
}

const VERDICTS = new Map<boolean | null, string>([
  [true, "The audit log is whole."],
  [false, "The audit log is damaged."],
  [null, "The audit log cannot be judged."],
]);

export function Audit() {
  const [found, setFound] = useState<Audited | null>(null);
  const [told, setTold] = useState("");
  const busy = told === "Checking …";

  async function check() {
    setFound(null);
    setTold("Checking …");
    try {
      const answer = await get<Audited>("admin/audit");
      setFound(answer);
      setTold(VERDICTS.get(answer.ok)!);
    } catch (error) {
      setTold(refusal(error).message);
    }
  }

  return (
    <section aria-label="Audit log">
      <h2>Audit log</h2>
      <button onClick={check} disabled={busy}>Check the audit log</button>
      <p role="status" className={found?.ok === false ? "refused" : ""}>{told}</p>
      {found && <ul>{found.lines.map((line, i) => <li key={i}>{line}</li>)}</ul>}
    </section>
  );
}

function day(time: string): string {
  return time.slice(0, 10);
}

function limit(number: number | null): string {
  if (number === null) return "the server’s";
  return number === 0 ? "no limit" : number.toLocaleString("en");
}
