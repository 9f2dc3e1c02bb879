// Asks for a key where the server wants one. It goes to the page's memory and nowhere else.

import { useState } from "react";

import { useServer } from "./server";
import { texts } from "./texts";

export function KeyForm() {
  const { key, enter } = useServer();
  const [value, setValue] = useState("");
  return (
    <form
      className="key"
      onSubmit={(event) => {
        event.preventDefault();
        enter(value);
        setValue("");
      }}
    >
      <h1>{texts.key.title}</h1>
      <p role="alert">{key === "wrong" ? texts.key.wrong : texts.key.enter}</p>
      <label>
        {texts.key.label}
        {/* Not "current-password": the browser is not to keep it either. */}
        <input
          type="password"
          autoComplete="off"
          value={value}
          onChange={(event) => setValue(event.target.value)}
          required
          autoFocus
        />
      </label>
      <button type="submit" className="main">{texts.key.use}</button>
      <p className="soft small">{texts.key.memory}</p>
    </form>
  );
}
