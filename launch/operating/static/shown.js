// Small helpers: elements, and numbers as a person reads them.
export function made(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== "" && value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...inside.filter((one) => one !== "" && one !== null && one !== undefined));
  return element;
}

// Fills an element anew where `key`, which stands for what is in it, is another one.
export function set(element, key, build) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...build());
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (digits >= 3 && size !== 0 && (size >= 1e6 || size < 0.5 * 10 ** -digits)) return value.toExponential(1).replace("-", "−");
  const shown = size >= 1000 ? 0 : digits;
  return value.toLocaleString("en-US", { maximumFractionDigits: shown }).replace("-", "−");
}

// Numbers with their names: rows of name, value, small words behind it, whether it is bad.
export function figures(list, rows) {
  set(list, JSON.stringify(rows), () => rows.map(([name, value, small, bad]) => made("div", {},
    made("dt", {}, name), made("dd", { class: bad ? "bad" : "" }, value, small ? made("small", {}, ` ${small}`) : ""))));
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export async function post(path, values) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) });
    const told = await answer.json().catch(() => ({}));
    return answer.ok ? "" : told.refused || `The page's process answered ${answer.status}.`;
  } catch {
    return "The page's process cannot be reached, so the word does not count.";
  }
}
