// The page of whoever runs the server. A key stays in memory and is gone when the page is left.

import { type FormEvent, useState } from "react";

import { useKey as keepKey } from "../api";
import { ThemeSelect } from "../ThemeSelect";
import type { Loaded } from "./answers";
import { type Asked, asText, useAsked } from "./asked";
import { Counts } from "./Counts";
import { Experiment } from "./Experiment";
import { Models } from "./Models";
import { Audit, Keys, QueuePart, Upstreams } from "./Operation";

export function AdminPage() {
  const [entered, setEntered] = useState(0);

  function enter(value: string) {
    keepKey(value);
    setEntered((before) => before + 1);
  }

  return (
    <>
      <a className="skip" href="#content">Skip to the content</a>
      <header>
        <h1>Elara: administration</h1>
        <nav aria-label="Pages"><a href="./">Ask a question</a></nav>
        <ThemeSelect />
      </header>
      <main id="content" tabIndex={-1}>
        {/* Another key asks for everything anew. */}
        <Parts key={entered} enter={enter} />
      </main>
    </>
  );
}

function Parts({ enter }: { enter: (key: string) => void }) {
  const models = useAsked<Loaded[]>("admin/adapters", 30);
  if (models.told === null && !models.refused) return <p>Loading …</p>;
  const status = models.refused?.status;
  const refused = status === 401 || status === 403;
  return (
    <>
      {refused && <KeyForm models={models} enter={enter} />}
      {!refused && (
        <>
          <Models asked={models} />
          <QueuePart />
          <Upstreams />
        </>
      )}
      {/* These two ask for no admin key: a server without keys shows them to its own computer. */}
      {status !== 401 && <Counted />}
      {!refused && (
        <>
          <Audit />
          <Keys />
        </>
      )}
    </>
  );
}

function Counted() {
  const counts = useAsked<string>("metrics", 15, asText);
  return (
    <>
      <Counts asked={counts} />
      <Experiment counts={counts} />
    </>
  );
}

function KeyForm({ models, enter }: { models: Asked<Loaded[]>; enter: (key: string) => void }) {
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    enter(String(new FormData(event.currentTarget).get("key")));
  }
  return (
    <section aria-label="Key">
      <h2>Key</h2>
      <p role="alert" className="refused">{models.refused?.message}</p>
      <form onSubmit={submit}>
        <label>
          Admin key <input name="key" type="password" required autoComplete="off" />
        </label>
        <button>Use this key</button>
      </form>
      <p className="soft">It stays in the memory of this page and is gone when you leave it.</p>
    </section>
  );
}
