// What is always there: the name, the ways through the page, and that this is an AI.

import { type Theme, useTheme } from "./theme";
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
  const [theme, setTheme] = useTheme();
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
        <label className="colours">
          <span className="hidden">{texts.colours}</span>
          <select value={theme} onChange={(event) => setTheme(event.target.value as Theme)}>
            {Object.entries(texts.themes).map(([name, words]) => (
              <option key={name} value={name}>{words}</option>
            ))}
          </select>
        </label>
      </div>
      <Notices />
    </header>
  );
}

function Notices() {
  const { about, reach, failed } = useServer();
  return (
    <div className="notices">
      <p className="always">{texts.always}</p>
      {about?.emergency && (
        <p className="emergency">{about.emergency}</p>
      )}
      {about?.mode === "simulation" && <p className="simulation">{texts.simulation}</p>}
      {reach === "connecting" && <p>{texts.connecting}</p>}
      {reach === "lost" && <p className="lost">{texts.lostBanner}</p>}
      {reach === "back" && <p className="back">{texts.backAgain}</p>}
      {failed && <p className="lost">{texts.reason(failed)}</p>}
    </div>
  );
}
