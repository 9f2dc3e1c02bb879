// Where a person chooses light or dark, on every page.

import { type Theme, useTheme } from "./theme";

const WORDS: Record<Theme, string> = { system: "As the system", light: "Light", dark: "Dark" };

export function ThemeSelect() {
  const [theme, setTheme] = useTheme();
  return (
    <label>
      <span className="hidden">Colours</span>
      <select value={theme} onChange={(event) => setTheme(event.target.value as Theme)}>
        {Object.entries(WORDS).map(([name, words]) => (
          <option key={name} value={name}>{words}</option>
        ))}
      </select>
    </label>
  );
}
