// The training examples that are nearest to an answer.

import { post } from "../api";
import { useLoaded } from "./load";
import { PanelFrame } from "./panel";
import { texts } from "./texts";
import { Trouble } from "./Trouble";

interface Example {
  id: string;
  score: number;
  question: string;
  answer: string | null;
  specialty: string;
  split: string;
  licence: string;
  title: string;
  url: string;
  withheld: boolean;
  retracted: boolean;
}

export function TracePanel({ question, answer }: { question: string; answer: string }) {
  const [loaded, again] = useLoaded(`${question}\n${answer}`, () =>
    post<{ examples: Example[]; seconds: number }>("evidence/trace", { question, answer, k: 5 }),
  );
  return (
    <PanelFrame title={texts.traceTitle}>
      <p className="soft small">{texts.traceText}</p>
      {!loaded && <p className="soft">{texts.tracing}</p>}
      {loaded && "problem" in loaded && <Trouble problem={loaded.problem} retry={again} />}
      {loaded && "value" in loaded && (
        <>
          {loaded.value.examples.length === 0 && <p>{texts.traceNone}</p>}
          <ol className="plain examples">
            {loaded.value.examples.map((one) => <ExampleView key={one.id} example={one} />)}
          </ol>
          <p className="soft small">{texts.traceSeconds(loaded.value.seconds)}</p>
        </>
      )}
    </PanelFrame>
  );
}

function ExampleView({ example }: { example: Example }) {
  const facts: [string, string][] = [
    [texts.similarity, example.score.toFixed(2)],
    [texts.specialty, example.specialty],
    [texts.split, example.split],
    [texts.licence, example.licence],
  ];
  return (
    <li>
      {example.withheld ? <p className="soft">{texts.withheld}</p> : <h3>{example.question}</h3>}
      {!example.withheld && example.answer && <p>{example.answer}</p>}
      {example.retracted && <p className="flag">{texts.retracted}</p>}
      <dl>
        {facts.filter(([, value]) => value).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
      </dl>
      <p className="small">
        {/^https?:\/\//i.test(example.url) ? (
          <a href={example.url} target="_blank" rel="noopener noreferrer">
            {example.title || example.url}
          </a>
        ) : (
          example.title
        )}
      </p>
    </li>
  );
}
