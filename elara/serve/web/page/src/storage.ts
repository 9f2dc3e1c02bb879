// The browser's own storage, which may be forbidden, full or damaged.

/** A value, or null: not there, or not allowed. */
export function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Why a value could not be kept, or null. */
export function write(name: string, value: string): "full" | "blocked" | null {
  try {
    localStorage.setItem(name, value);
    return null;
  } catch (error) {
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    return full ? "full" : "blocked";
  }
}

export function remove(name: string): void {
  try {
    localStorage.removeItem(name);
  } catch {
    // Where nothing is allowed, nothing was kept.
  }
}

/** Names that begin like this. */
export function names(beginning: string): string[] {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(beginning));
  } catch {
    return [];
  }
}
