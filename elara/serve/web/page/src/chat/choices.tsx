// What the person chose for the next questions: model, specialty, with or without sources.

import type { About } from "../api";
import type { Asked, Turn } from "./answer";
import { useServer } from "./server";
import { texts } from "./texts";

export const SERVING = "elara"; // names whatever serves
export const BASE = "elara-base";

export interface Choices {
  model: string;
  specialty: string;
  sources: boolean;
}

export const FIRST: Choices = { model: SERVING, specialty: "", sources: true };

/** A request for these turns. What the server does not have is not asked for. */
export function request(turns: Turn[], choices: Choices, about: About | null): Asked {
  const asked: Asked = { model: choices.model, messages: turns, stream: true };
  if (about?.retrieval) {
    asked.metadata = { sources: choices.sources ? "yes" : "no" };
    if (choices.sources && choices.specialty) asked.metadata.specialty = choices.specialty;
  }
  return asked;
}

function nameOf(model: string): string {
  if (model === BASE) return texts.models.base;
  return `${texts.models.other} ${model.replace("elara-", "")}`;
}

interface Props {
  choices: Choices;
  change(choices: Choices): void;
}

export function ChoiceBar({ choices, change }: Props) {
  const { about, models } = useServer();
  const others = models.slice(1); // the first one is what serves
  if (choices.model !== SERVING && !others.includes(choices.model)) others.push(choices.model);
  return (
    <div className="choices">
      <label>
        <span>{texts.model}</span>
        <select
          value={choices.model}
          onChange={(event) => change({ ...choices, model: event.target.value })}
        >
          <option value={SERVING}>
            {texts.models.serving}
            {models[0] ? ` (${models[0].replace("elara-", "")})` : ""}
          </option>
          {others.map((model) => <option key={model} value={model}>{nameOf(model)}</option>)}
        </select>
      </label>
      {about?.retrieval ? (
        <>
          <label>
            <span>{texts.specialty}</span>
            <select
              value={choices.specialty}
              disabled={!choices.sources}
              onChange={(event) => change({ ...choices, specialty: event.target.value })}
            >
              <option value="">{texts.anySpecialty}</option>
              {about.specialties.map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
          <label className="switch">
            <input
              type="checkbox"
              role="switch"
              checked={choices.sources}
              onChange={(event) => change({ ...choices, sources: event.target.checked })}
            />
            <span>{texts.sourcesSwitch}</span>
          </label>
        </>
      ) : (
        about && <span className="soft">{texts.noIndex}</span>
      )}
    </div>
  );
}
