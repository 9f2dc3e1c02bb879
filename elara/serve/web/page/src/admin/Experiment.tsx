// The comparison of two adapters on people who consent: what they are told, and who was asked.

import { samples } from "./answers";
import { type Asked, useAsked } from "./asked";
import { Part, Table } from "./Part";

export function Experiment({ counts }: { counts: Asked<string> }) {
  const arms = new Map<string, number>();
  for (const { name, labels, value } of samples(counts.told ?? "")) {
    // An answer of the base model was asked for by name and belongs to no arm.
    if (name !== "elara_questions_total" || ["", "base"].includes(labels.arm)) continue;
    arms.set(labels.arm, (arms.get(labels.arm) ?? 0) + value);
  }
  return (
    <Part title="A/B experiment" asked={useAsked<Record<string, string>>("experiment", 60)}>
      {(notice) => (
        <>
          {Object.keys(notice).length === 0 ? (
            <p>None is running.</p>
          ) : (
            <dl>
              {Object.entries(notice).map(([name, told]) => (
                <div key={name}><dt>{name.replaceAll("_", " ")}</dt><dd>{told}</dd></div>
              ))}
            </dl>
          )}
          {arms.size > 0 && (
            <Table label="Questions by arm" head={["arm", "questions since the start"]}
              rows={[...arms]} />
          )}
          <p className="soft">
            Its report, start and end are commands on the server’s computer, where the release gate
            is asked: <code>elara ab status</code>, <code>start</code>,{" "}
            <code>promote</code> and <code>rollback</code>.
          </p>
        </>
      )}
    </Part>
  );
}
