// Swagger UI has a dark scheme but does not ask the system for it.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// What its forms lack for a screen reader and for the keyboard.
const complete = () => {
  const set = (selector, name, value) =>
    document.querySelectorAll(`${selector}:not([${name}])`).forEach((e) => e.setAttribute(name, value));
  set("textarea.body-param__text", "aria-label", "Request body");
  set(".copy-to-clipboard button", "aria-label", "Copy");
  set("pre.microlight", "tabindex", "0");
};
new MutationObserver(complete).observe(document.getElementById("swagger-ui"), {
  childList: true,
  subtree: true,
});

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null, // else it sends the address of this server to swagger.io
  deepLinking: false, // its links lie inside buttons, which screen readers cannot tell apart
  defaultModelsExpandDepth: -1, // each operation shows its own
  syntaxHighlight: false,
});
