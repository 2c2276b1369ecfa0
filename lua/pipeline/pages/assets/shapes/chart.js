// chart.js - bars over time, and parts of a whole: small pictures of numbers, each with its numbers as text.
import { html } from "../parts.js";
import { number } from "../format.js";

// Bars, the newest at the right. `values`: numbers; `bad` (optional): how much of each is of the bad kind.
export function Bars({ values, bad, label, height = 40, title }) {
  const most = Math.max(1, ...values);
  const width = 100 / Math.max(1, values.length);
  return html`<svg class="bars" viewBox=${`0 0 100 ${height}`} preserveAspectRatio="none" role="img" aria-label=${label} height=${height}>
    ${values.map((value, i) => value > 0 && html`<rect key=${i} x=${i * width + width * 0.12} width=${width * 0.76}
      y=${height - Math.max(1.5, (value / most) * height)} height=${Math.max(1.5, (value / most) * height)}><title>${title ? title(i) : number(value)}</title></rect>`)}
    ${(bad ?? []).map((value, i) => value > 0 && html`<rect key=${"b" + i} class="bad" x=${i * width + width * 0.12} width=${width * 0.76}
      y=${height - Math.max(1.5, (value / most) * height)} height=${Math.max(1.5, (value / most) * height)}><title>${title ? title(i) : number(value)}</title></rect>`)}</svg>`;
}

// Parts beside each other: a list of { state, value }.
export function Parts({ parts, label }) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  if (!total) return html`<span class="parts none" role="img" aria-label=${label}></span>`;
  return html`<span class="parts" role="img" aria-label=${label}>${parts.filter(part => part.value > 0).map(part => html`<i class=${"s-" + part.state}
    style=${{ flexGrow: part.value }} title=${`${part.state}: ${number(part.value)}`}></i>`)}</span>`;
}
