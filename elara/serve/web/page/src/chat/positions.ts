// The server counts characters, JavaScript counts UTF-16 units: beyond U+FFFF they differ.

/** For a text: the UTF-16 position of its n-th character. */
export function positions(text: string): (n: number) => number {
  if (!/[\ud800-\udbff]/.test(text)) return (n) => n;
  const at: number[] = [];
  let unit = 0;
  for (const character of text) {
    at.push(unit);
    unit += character.length;
  }
  return (n) => at[n] ?? text.length;
}
