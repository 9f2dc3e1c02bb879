// Light or dark: as the system says, until somebody chooses.

import { useState } from "react";

import { read, write } from "./storage";

export type Theme = "system" | "light" | "dark";

const NAME = "elara.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme {
  const kept = read(NAME);
  return kept === "light" || kept === "dark" ? kept : "system";
}

function apply(theme: Theme): void {
  const now = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  document.documentElement.dataset.theme = now;
}

/** Colour the page before anything is drawn, and follow the system from then on. */
export function startTheme(): void {
  apply(chosen());
  dark.addEventListener("change", () => apply(chosen()));
}

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(chosen);
  return [
    theme,
    (next) => {
      write(NAME, next);
      apply(next);
      setTheme(next);
    },
  ];
}
