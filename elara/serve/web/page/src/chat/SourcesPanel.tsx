// The passages that an answer was given, each marked in the article that it stands in.

import { useEffect, useRef } from "react";

import { get, type Source } from "../api";
import { useAnnounce } from "./announce";
import type { Answer } from "./answer";
import { useLoaded } from "./load";
import { PanelFrame, type Shown, usePanel } from "./panel";
import { positions } from "./positions";
import { texts } from "./texts";
import { Trouble } from "./Trouble";

interface Article {
  title: string;
  authors: string[] | string;
  parts: { part: string; heading: string; text: string }[];
}

export function SourcesPanel({ shown }: { shown: Extract<Shown, { kind: "sources" }> }) {
  const { answer, n } = shown;
  const say = useAnnounce();
  const { open } = usePanel();
  const sources = answer.told?.sources ?? [];
  const source = sources.find((one) => one.n === n) ?? sources[0];
  useEffect(() => {
    if (source) say(texts.sourceShown(source.n, source.title));
  }, [say, shown.id, source?.n]);
  if (!source) return null;
  return (
    <PanelFrame title={texts.sources}>
      <p className="soft small">{texts.notProof}</p>
      <div className="numbers" role="group" aria-label={texts.sources}>
        {sources.map((one) => (
          <button
            type="button"
            key={one.n}
            aria-pressed={one.n === source.n}
            onClick={() => open({ ...shown, n: one.n })}
          >
            {texts.sourceN(one.n)}
          </button>
        ))}
      </div>
      <Details source={source} answer={answer} />
      <Passage key={source.article_id} source={source} />
    </PanelFrame>
  );
}

function Details({ source, answer }: { source: Source; answer: Answer }) {
  const facts: [string, string][] = [
    [texts.section, source.section],
    [texts.journal, source.journal],
    [texts.published, source.published],
    [texts.licence, source.licence],
    [texts.searchScore, source.score.toFixed(2)],
  ];
  return (
    <>
      <h3>{source.title}</h3>
      <dl>
        {facts.filter(([, value]) => value).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
        <div>
          <dt>{texts.supportScore}</dt>
          <dd><Supported n={source.n} answer={answer} /></dd>
        </div>
      </dl>
      {/^https?:\/\//i.test(source.url) && (
        <p>
          <a href={source.url} target="_blank" rel="noopener noreferrer">{texts.openArticle}</a>
        </p>
      )}
    </>
  );
}

function Supported({ n, answer: { text, told } }: { n: number; answer: Answer }) {
  const place = positions(text);
  // Not while it is written, nor after a stop or a failure.
  if (!told?.sentences?.length) return texts.notCompared;
  const sentences = told.sentences.filter((one) => one.source === n);
  if (!sentences.length) return texts.notClosest;
  return (
    <ul className="plain">
      {sentences.map(({ start, end, score }) => (
        <li key={start}>{score.toFixed(2)}: “{text.slice(place(start), place(end)).trim()}”</li>
      ))}
    </ul>
  );
}

function Passage({ source }: { source: Source }) {
  const address = source.article_id.split("/").map(encodeURIComponent).join("/");
  const [loaded, again] = useLoaded(address, () => get<Article>(`evidence/articles/${address}`));
  if (!loaded) return <p className="soft">{texts.loadingArticle}</p>;
  if ("problem" in loaded) {
    const { problem } = loaded;
    const gone = problem.kind === "refused";
    return (
      <>
        {gone ? <p>{texts.articleGone}</p> : <Trouble problem={problem} retry={again} />}
        <blockquote>{source.text}</blockquote>
      </>
    );
  }
  return <Marked source={source} article={loaded.value} />;
}

function Marked({ source, article }: { source: Source; article: Article }) {
  const mark = useRef<HTMLElement>(null);
  useEffect(() => {
    mark.current?.scrollIntoView({ block: "center" });
  }, [source.id]);
  const part = article.parts.find((one) => one.part === source.part);
  const place = positions(part?.text ?? "");
  const [start, end] = [place(source.start), place(source.end)];
  // Marking other words than those that the answer was given would be worse than marking none.
  const there = part?.text.slice(start, end).trim() === source.text.trim();
  const authors = [article.authors].flat().join(", ");
  return (
    <section className="article" aria-label={texts.article}>
      {!there && (
        <>
          <p>{texts.passageMoved}</p>
          <blockquote>{source.text}</blockquote>
        </>
      )}
      {authors && <p className="soft small">{authors}</p>}
      {article.parts.map((one) => (
        <div key={one.part}>
          {one.heading && <h4>{one.heading}</h4>}
          {there && one === part ? (
            <p>
              {one.text.slice(0, start)}
              <mark ref={mark}>{one.text.slice(start, end)}</mark>
              {one.text.slice(end)}
            </p>
          ) : (
            <p>{one.text}</p>
          )}
        </div>
      ))}
    </section>
  );
}
