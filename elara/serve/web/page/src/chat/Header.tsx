// The name and the ways through the page.

import { ThemeSelect } from "../ThemeSelect";
import { usePanel } from "./panel";
import { useServer } from "./server";
import { texts } from "./texts";

interface Props {
  comparing: boolean;
  toggleCompare(): void;
  startNew(): void;
}

export function Header({ comparing, toggleCompare, startNew }: Props) {
  const { about } = useServer();
  const { shown, open, close } = usePanel();
  const history = shown?.kind === "history";
  return (
    <header>
      <div className="bar">
        <p className="brand">
          <strong>{texts.name}</strong> <span className="soft">{texts.tagline}</span>
        </p>
        <nav aria-label={texts.name}>
          <button type="button" className="quiet" onClick={startNew}>
            {texts.newConversation}
          </button>
          <button
            type="button"
            className="quiet"
            aria-expanded={history}
            onClick={() => (history ? close() : open({ kind: "history" }))}
          >
            {texts.history}
          </button>
          {about?.base && (
            <button
              type="button"
              className="quiet"
              aria-pressed={comparing}
              onClick={toggleCompare}
            >
              {texts.compare}
            </button>
          )}
          <a href="admin.html">{texts.administration}</a>
        </nav>
        <ThemeSelect />
      </div>
    </header>
  );
}
