// A part of the page: its heading, why it has nothing to show, or what it shows.

import type { ReactNode } from "react";

import type { Asked } from "./asked";

interface Props<T> {
  title: string;
  asked: Asked<T>;
  children: (told: T) => ReactNode;
}

export function Part<T>({ title, asked, children }: Props<T>) {
  const { told, refused } = asked;
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {refused && (
        <p className={refused.status === 404 ? "soft" : "refused"}>{refused.message}</p>
      )}
      {told === null ? !refused && <p>Loading …</p> : children(told)}
    </section>
  );
}

/** A table that scrolls by itself where the window is narrow. */
export function Table(props: { label: string; head: string[]; rows: ReactNode[][] }) {
  return (
    <div className="scrolls" role="region" aria-label={props.label} tabIndex={0}>
      <table>
        <thead>
          <tr>{props.head.map((name) => <th key={name} scope="col">{name}</th>)}</tr>
        </thead>
        <tbody>
          {props.rows.map((row, i) => (
            <tr key={i}>{row.map((cell, j) => <td key={j}>{cell}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
