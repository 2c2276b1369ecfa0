// timeline.js - when each stage was waiting and when it was at work. Spans in which nothing began or ended are folded,
// but for the one up to now while something is at work.
import { ClassName, Shape, html, isFinal } from "../parts.js";
import { span } from "../format.js";

const ROWS_MAX = 400;
const FOLD_SHARE = 0.12; // of the whole: a longer rest is folded
const FOLDED = 0.03;     // how much of the width it has then

// Where times lie from 0 to 1, with long rests folded: { at(time), folds: list of { from, to, seconds } }.
// `busy`: the last span is no rest.
export function scale(times, busy) {
  const sorted = [...new Set(times)].sort((a, b) => a - b);
  const whole = sorted.at(-1) - sorted[0] || 1;
  const parts = [];
  for (let i = 1; i < sorted.length; i++) {
    const seconds = sorted[i] - sorted[i - 1];
    parts.push({ from: sorted[i - 1], seconds, folded: sorted.length > 3 && !(busy && i === sorted.length - 1) && seconds > whole * FOLD_SHARE && seconds > 5 });
  }
  const open = parts.reduce((sum, part) => sum + (part.folded ? 0 : part.seconds), 0);
  const folds = parts.filter(part => part.folded);
  if (open <= 0 || open > whole * 0.8) return { at: time => (time - sorted[0]) / whole, folds: [] };
  const room = 1 - folds.length * FOLDED;
  let x = 0;
  for (const part of parts) {
    part.x = x;
    part.width = part.folded ? FOLDED : (part.seconds / open) * room;
    x += part.width;
  }
  const at = time => {
    let low = 0, high = parts.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (parts[mid].from <= time) low = mid; else high = mid - 1; }
    const part = parts[low];
    return part ? Math.min(1, part.x + Math.max(0, Math.min(1, (time - part.from) / part.seconds)) * part.width) : 0;
  };
  return { at, folds: folds.map(part => ({ x: part.x, width: part.width, seconds: part.seconds })) };
}

export function Timeline({ rows, selected, select, now }) {
  const shown = rows.filter(row => row.entry && typeof row.entry.created === "number").slice(0, ROWS_MAX);
  if (!shown.length) return html`<p class="empty">Nothing has begun.</p>`;
  const times = [];
  let live = false, busy = false;
  for (const { entry } of shown) {
    times.push(entry.created);
    if (entry.started) times.push(entry.started);
    if (entry.ended) times.push(entry.ended);
    if (!isFinal(entry.state)) live = true;
    if (entry.state === "executing") busy = true;
  }
  if (live) times.push(Math.max(now, ...times));
  const { at, folds } = scale(times, busy);
  const end = Math.max(...times);
  const percent = x => (x * 100).toFixed(3) + "%";
  const keys = event => {
    const i = shown.findIndex(row => row.entry.id === selected);
    const to = event.key === "ArrowDown" ? i + 1 : event.key === "ArrowUp" ? i - 1 : -1;
    if (to < 0 || to >= shown.length) return;
    event.preventDefault();
    select(shown[to].entry.id);
  };
  return html`<div class="timeline" role="listbox" aria-label="Timeline of stages" tabindex="0" onKeyDown=${keys}
    aria-activedescendant=${selected ? "l-" + selected : undefined}>
    <div class="scale" role="presentation"><span>${span(0)}</span>${folds.map(fold => html`<span class=${"foldmark" + (fold.x > 0.85 ? " last" : "")}
      style=${{ left: `calc(var(--names) + (100% - var(--names)) * ${fold.x + (fold.x > 0.85 ? fold.width : fold.width / 2)})` }}>${span(fold.seconds)}</span>`)}
      <span class="end" hidden=${folds.some(fold => fold.x + fold.width > 0.9)}>${span(end - Math.min(...times))}</span></div>
    ${shown.map(({ entry, level }) => {
      const from = at(entry.created), begun = entry.started ? at(entry.started) : null, to = at(entry.ended ?? end);
      const words = `${entry.class}: ${entry.state}` + (entry.started ? `, waited ${span(entry.started - entry.created)}` : "") +
        (entry.ended ? `, took ${span(entry.ended - (entry.started ?? entry.created))}` : "");
      return html`<div key=${entry.id} id=${"l-" + entry.id} role="option" aria-selected=${entry.id === selected ? "true" : "false"} aria-label=${words}
        class=${"line" + (entry.id === selected ? " selected" : "")} title=${words} onClick=${() => select(entry.id)}>
        <span class="name" style=${{ "--level": level }}><${Shape} state=${entry.state} /><${ClassName} name=${entry.class} /></span>
        <span class="track">
        <i class="bar wait" style=${{ left: percent(from), width: percent(Math.max(0.001, (begun ?? to) - from)) }}></i>
        ${begun !== null && html`<i class=${"bar s-" + entry.state} style=${{ left: percent(begun), width: percent(Math.max(0.003, to - begun)) }}></i>`}
        ${folds.map(fold => html`<i class="fold" style=${{ left: percent(fold.x), width: percent(fold.width) }}></i>`)}</span></div>`;
    })}
    ${rows.length > shown.length && html`<p class="empty">The first ${shown.length} of ${rows.length} rows: close stages in the tree, or search.</p>`}</div>`;
}
