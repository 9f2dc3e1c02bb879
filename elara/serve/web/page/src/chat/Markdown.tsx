// Draws the part of Markdown that models write, as React elements: no HTML, no links, no images.
//
// Whatever it does not know stays text. It keeps count of where in the answer each piece came from,
// so that marks (the numbers of sources) stand behind the sentences that they belong to.

import { Fragment, type ReactNode } from "react";

export interface Mark {
  at: number;
  node: ReactNode;
}

interface Props {
  text: string;
  marks?: Mark[];
  /** What stands for [n] at this place of the text; null leaves it as it is, "" takes it out. */
  cite?: Cite;
}

type Cite = (n: number, at: number) => ReactNode;

interface Range {
  start: number;
  end: number;
}

type Block =
  | { kind: "heading" | "paragraph" | "code"; range: Range }
  | { kind: "ordered" | "unordered"; first: number; items: Range[] };

export function Markdown({ text, marks = [], cite = () => null }: Props) {
  const inline = inliner(text, marks, cite);
  const blocks = blocksOf(text);
  return blocks.map((block, at) => {
    const next = blocks[at + 1];
    const until = next ? startOf(next) : text.length;
    return <Fragment key={at}>{drawn(block, until, text, inline)}</Fragment>;
  });
}

function drawn(block: Block, until: number, text: string, inline: Inline): ReactNode {
  switch (block.kind) {
    case "heading":
      // All are of one level: the page's own outline goes on below "Answer".
      return <h3>{inline(block.range, until)}</h3>;
    case "paragraph":
      return <p>{inline(block.range, until)}</p>;
    case "code":
      return (
        <>
          <pre tabIndex={0}><code>{text.slice(block.range.start, block.range.end)}</code></pre>
          {inline({ start: block.range.end, end: block.range.end }, until)}
        </>
      );
    default: {
      const items = block.items.map((item, at) => (
        <li key={item.start}>{inline(item, block.items[at + 1]?.start ?? until)}</li>
      ));
      return block.kind === "ordered" ? <ol start={block.first}>{items}</ol> : <ul>{items}</ul>;
    }
  }
}

const startOf = (block: Block) => ("items" in block ? block.items[0]!.start : block.range.start);

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let open: Range | null = null; // the paragraph or item that a plain line continues
  let fence: Range | null = null;
  let at = 0;
  for (const line of text.split("\n")) {
    const start = at;
    const end = at + line.length;
    at = end + 1;
    if (/^\s*```/.test(line)) {
      const inside = Math.min(at, text.length);
      fence = fence ? null : { start: inside, end: inside };
      if (fence) blocks.push({ kind: "code", range: fence });
      open = null;
      continue;
    }
    if (fence) {
      fence.end = end;
      continue;
    }
    if (!line.trim()) {
      open = null;
      continue;
    }
    const heading = /^\s{0,3}#{1,6}\s+/.exec(line);
    const item = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+/.exec(line);
    if (heading) {
      blocks.push({ kind: "heading", range: { start: start + heading[0].length, end } });
      open = null;
    } else if (item) {
      open = { start: start + item[0].length, end };
      const kind = item[1] ? "ordered" : "unordered";
      const last = blocks.at(-1);
      if (last?.kind === kind) last.items.push(open);
      else blocks.push({ kind, first: Number(item[1] ?? 1), items: [open] });
    } else if (open) {
      open.end = end;
    } else {
      open = { start, end };
      blocks.push({ kind: "paragraph", range: open });
    }
  }
  return blocks;
}

type Inline = (range: Range, until: number) => ReactNode[];

// Code, bold, italic, a link or image (kept as text), a citation. All are bounded, so that neither
// a lonely asterisk nor ten thousand of them in a row make the page slow or swallow an answer.
const TOKEN = new RegExp(
  [
    /`([^`\n]{1,500})`/,
    /\*\*(?=\S)([^*]{1,500})\*\*/,
    /__(?=\S)([^_]{1,500})__/,
    /\*(?=\S)([^*\n]{1,500})\*/,
    /\b_(?=\S)([^_\n]{1,500})_\b/,
    /!?\[([^[\]\n]{0,300})\]\(([^()\s]{0,500})[^()\n]{0,200}\)/,
    /\[(\d{1,3})\]/,
  ].map((one) => one.source).join("|"),
  "g",
);

function inliner(text: string, marks: Mark[], cite: Cite): Inline {
  const waiting = [...marks].sort((a, b) => a.at - b.at);
  let key = 0;

  const due = (place: number): ReactNode[] => {
    const found: ReactNode[] = [];
    while (waiting.length && waiting[0]!.at <= place) {
      found.push(<Fragment key={`mark${key++}`}>{waiting.shift()!.node}</Fragment>);
    }
    return found;
  };

  const plain = (start: number, end: number): ReactNode[] => {
    const found: ReactNode[] = [];
    let from = start;
    while (from < end) {
      found.push(...due(from));
      const to = Math.min(end, waiting[0]?.at ?? end);
      found.push(text.slice(from, to));
      from = to;
    }
    return found;
  };

  const pieces = ({ start, end }: Range): ReactNode[] => {
    const found: ReactNode[] = [];
    let from = start;
    for (const match of text.slice(start, end).matchAll(TOKEN)) {
      const at = start + match.index;
      const behind = at + match[0].length;
      found.push(...plain(from, at), ...due(at));
      const [, code, strong, strong2, em, em2, label, address, number] = match;
      const inner = strong ?? strong2 ?? em ?? em2;
      if (code !== undefined) {
        found.push(<code key={key++}>{code}</code>);
      } else if (inner !== undefined) {
        const width = strong ?? strong2 ? 2 : 1;
        const within = pieces({ start: at + width, end: behind - width });
        const Tag = width === 2 ? "strong" : "em";
        found.push(<Tag key={key++}>{within}</Tag>);
      } else if (address !== undefined) {
        found.push(`${label} (${address})`);
      } else {
        const cited = cite(Number(number), at);
        const before = found.at(-1);
        if (cited === "" && typeof before === "string") found.push(found.pop() && before.trimEnd());
        else found.push(cited === null ? match[0] : <Fragment key={key++}>{cited}</Fragment>);
      }
      from = behind;
    }
    found.push(...plain(from, end));
    return found;
  };

  return (range, until) => [...pieces(range), ...due(until)];
}
