// What the server has counted since its start: questions, tokens, times, cache, references.

import { type Bar, type Sample, samples, steps } from "./answers";
import type { Asked } from "./asked";
import { Part, Table } from "./Part";

export function Counts({ asked }: { asked: Asked<string> }) {
  return (
    <Part title="Counts since the start" asked={asked}>
      {(text) => {
        const all = samples(text);
        return (
          <>
            <Count all={all} name="elara_questions_total" title="Questions" by={["outcome", "arm"]} />
            <Times bars={steps(all, "elara_answer_seconds")} />
            <Count all={all} name="elara_tokens_total" title="Tokens" by={["direction"]} />
            <Count all={all} name="elara_cache_total" title="Answers from memory" by={["result"]} />
            <Count all={all} name="elara_citations_total" title="References in answers"
              by={["support"]} />
          </>
        );
      }}
    </Part>
  );
}

function Count(props: { all: Sample[]; name: string; title: string; by: string[] }) {
  const found = props.all.filter((sample) => sample.name === props.name);
  return (
    <>
      <h3>{props.title}</h3>
      {found.length === 0 ? (
        <p>None yet.</p>
      ) : (
        <Table
          label={props.title}
          head={[...props.by, "count"]}
          rows={found.map(({ labels, value }) => [
            ...props.by.map((label) => labels[label] || "none"),
            value.toLocaleString("en"),
          ])}
        />
      )}
    </>
  );
}

const HEIGHT = 120;
const STEP = 40;

function Times({ bars }: { bars: Bar[] }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  const total = bars.reduce((sum, bar) => sum + bar.count, 0);
  const words = (bar: Bar) => (bar.upTo === "+Inf" ? "more" : String(Number(bar.upTo)));
  return (
    <>
      <h3>Seconds to an answer</h3>
      {total === 0 ? (
        <p>None yet.</p>
      ) : (
        <>
          <svg
            role="img"
            aria-label={`How long ${total} answers took. The table below has the numbers.`}
            viewBox={`0 0 ${bars.length * STEP} ${HEIGHT + 40}`}
          >
            {bars.map((bar, i) => {
              const height = (HEIGHT * bar.count) / most;
              return (
                <g key={bar.upTo} transform={`translate(${i * STEP} 20)`}>
                  <rect x={3} y={HEIGHT - height} width={STEP - 6} height={height} />
                  {bar.count > 0 && <text x={STEP / 2} y={HEIGHT - height - 5}>{bar.count}</text>}
                  <text x={STEP / 2} y={HEIGHT + 15}>{words(bar)}</text>
                </g>
              );
            })}
          </svg>
          <details>
            <summary>The same as a table</summary>
            <Table
              label="Seconds to an answer"
              head={["up to, in seconds", "answers"]}
              rows={bars.map((bar) => [words(bar), bar.count])}
            />
          </details>
        </>
      )}
    </>
  );
}
