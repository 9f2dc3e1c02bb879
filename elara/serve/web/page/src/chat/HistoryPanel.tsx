// The conversations that this browser keeps: to open, name, export and delete.

import { useState } from "react";

import {
  asMarkdown,
  type Conversation,
  forget,
  forgetNames,
  kept,
  rename,
} from "./conversations";
import { focusPanel, PanelFrame } from "./panel";
import { texts } from "./texts";

interface Props {
  current: string;
  open(conversation: Conversation): void;
  /** Called with the ids of what was deleted. */
  deleted(ids: string[]): void;
}

export function HistoryPanel({ current, open, deleted }: Props) {
  const [{ conversations, damaged }, setKept] = useState(kept);
  const [asking, setAsking] = useState(false);
  const [renaming, setRenaming] = useState("");

  const remove = (ids: string[]) => {
    ids.forEach(forget);
    deleted(ids);
    setKept(kept());
    focusPanel();
  };

  return (
    <PanelFrame title={texts.history}>
      <p className="soft small">{texts.kept.where}</p>
      {damaged.length > 0 && (
        <div className="trouble">
          <p>{texts.kept.damaged(damaged.length)}</p>
          <button
            type="button"
            onClick={() => {
              forgetNames(damaged);
              setKept(kept());
              focusPanel();
            }}
          >
            {texts.kept.removeDamaged}
          </button>
        </div>
      )}
      {conversations.length === 0 && <p>{texts.kept.none}</p>}
      <ul className="plain kept">
        {conversations.map((one) => (
          <li key={one.id} aria-current={one.id === current}>
            {renaming === one.id ? (
              <form
                className="row"
                onSubmit={(event) => {
                  event.preventDefault();
                  const title = new FormData(event.currentTarget).get("title");
                  rename(one, String(title).trim() || one.title);
                  setRenaming("");
                  setKept(kept());
                  focusPanel();
                }}
              >
                <input
                  name="title"
                  aria-label={texts.kept.renamePrompt}
                  defaultValue={one.title}
                  maxLength={100}
                  autoFocus
                />
                <button type="submit">{texts.kept.save}</button>
              </form>
            ) : (
              <button
                type="button"
                className="quiet title"
                aria-label={texts.kept.open(one.title)}
                onClick={() => open(one)}
              >
                {one.title}
                <span className="soft small">{new Date(one.changed).toLocaleString()}</span>
              </button>
            )}
            <div className="row">
              <Small label={texts.kept.rename(one.title)} act={() => setRenaming(one.id)}>
                {texts.kept.renameShort}
              </Small>
              <Small
                label={`${texts.kept.exportMarkdown}: ${one.title}`}
                act={() => save(`${one.id}.md`, "text/markdown", asMarkdown(one))}
              >
                Markdown
              </Small>
              <Small
                label={`${texts.kept.exportJson}: ${one.title}`}
                act={() => save(`${one.id}.json`, "application/json", JSON.stringify(one, null, 2))}
              >
                JSON
              </Small>
              <Small label={texts.kept.delete(one.title)} act={() => remove([one.id])}>
                {texts.kept.deleteShort}
              </Small>
            </div>
          </li>
        ))}
      </ul>
      {conversations.length > 0 &&
        (asking ? (
          <div className="trouble" role="alertdialog" aria-label={texts.kept.deleteAll}>
            <p>{texts.kept.sure}</p>
            <div className="row">
              <button
                type="button"
                onClick={() => {
                  remove(conversations.map((one) => one.id));
                  setAsking(false);
                }}
              >
                {texts.kept.yes}
              </button>
              <button
                type="button"
                onClick={() => {
                  setAsking(false);
                  focusPanel();
                }}
                autoFocus
              >
                {texts.kept.no}
              </button>
            </div>
          </div>
        ) : (
          <button type="button" onClick={() => setAsking(true)}>{texts.kept.deleteAll}</button>
        ))}
    </PanelFrame>
  );
}

function Small({ label, act, children }: { label: string; act(): void; children: string }) {
  return (
    <button type="button" className="quiet small" aria-label={label} onClick={act}>
      {children}
    </button>
  );
}

function save(name: string, type: string, content: string): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  // Not at once: the browser may only begin to read it after this.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
