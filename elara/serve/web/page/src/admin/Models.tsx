// Which adapters are loaded, and the exchange of the one that serves.

import { type FormEvent, useRef, useState } from "react";

import { post } from "../api";
import type { Loaded } from "./answers";
import { type Asked, refusal } from "./asked";
import { Part, Table } from "./Part";

export function Models({ asked }: { asked: Asked<Loaded[]> }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [wanted, setWanted] = useState("");
  const [result, setResult] = useState("");
  const [busy, setBusy] = useState(false);

  function choose(adapter: string) {
    setWanted(adapter);
    dialog.current?.showModal();
  }

  async function swap() {
    dialog.current?.close();
    setBusy(true);
    setResult("Exchanging …");
    try {
      const after = await post<{ weights_sha256: string }>("admin/swap", { adapter: wanted });
      setResult(`${short(after.weights_sha256)} serves now.`);
    } catch (error) {
      setResult(refusal(error).message);
    }
    setBusy(false);
    asked.again();
  }

  function another(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const named = String(new FormData(event.currentTarget).get("adapter")).trim();
    if (named) choose(named);
  }

  return (
    <Part title="Models" asked={asked}>
      {(loaded) => (
        <>
          {loaded.length === 0 && <p>No adapter is loaded.</p>}
          {loaded.length > 0 && (
            <Table
              label="Loaded adapters"
              head={["Adapter", "Base model", "Release gate", "Serves"]}
              rows={loaded.map(({ adapter, model, gate, serves }) => [
                adapter ? <code>{short(adapter.weights_sha256)}</code> : "none",
                model ?? "not known",
                gate,
                serves || !adapter ? (
                  <strong>{serves ? "yes" : "no"}</strong>
                ) : (
                  <button disabled={busy} onClick={() => choose(adapter.weights_sha256)}>
                    Let {short(adapter.weights_sha256)} serve …
                  </button>
                ),
              ])}
            />
          )}
          <form onSubmit={another}>
            <label>
              Another adapter: its folder’s name, or the SHA-256 of its weights{" "}
              <input name="adapter" required maxLength={200} autoComplete="off" />
            </label>
            <button disabled={busy}>Exchange …</button>
          </form>
          <p role="status">{result}</p>
          <dialog ref={dialog} aria-labelledby="swap-title">
            <h3 id="swap-title">Let another adapter serve?</h3>
            <p>
              New questions go to <code>{wanted}</code>. Answers under way are finished by the one
              before. The audit log records the exchange.
            </p>
            <button onClick={swap}>Exchange now</button>{" "}
            <button onClick={() => dialog.current?.close()}>Cancel</button>
          </dialog>
        </>
      )}
    </Part>
  );
}

function short(sha256: string): string {
  return sha256.slice(0, 12);
}
