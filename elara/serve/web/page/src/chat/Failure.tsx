// What is shown when the page itself fails, where React alone would leave nothing.

import { Component, type ReactNode } from "react";

import { texts } from "./texts";

export class Failure extends Component<{ children: ReactNode }, { failed: boolean }> {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="key" role="alert">
        <h1>{texts.failure.title}</h1>
        <p>{texts.failure.text}</p>
        <p className="always">{texts.always}</p>
        <button type="button" className="main" onClick={() => location.reload()}>
          {texts.failure.reload}
        </button>
      </main>
    );
  }
}
