// pipelines.js - roots, newest first: filters in the address, counts by state, acts on one or many.
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import {
  Ago, ClassName, Empty, Foreign, Id, Loading, Problem, Progress, STATES, Shape, State, Took, go, href, html, isFinal,
} from "../parts.js";
import { now, useAnswer } from "../server.js";
import { ActsOnMany } from "./many.js";
import { cause, local, number, span, withLocalTimes } from "../format.js";

const NAMES = ["state", "class", "queue", "key", "text", "error", "since", "until"];
const SINCE = [["", "any time"], ["-3600", "the last hour"], ["-86400", "the last day"], ["-604800", "the last 7 days"]];

const filtersOf = params => Object.fromEntries(NAMES.filter(name => params[name]).map(name => [name, params[name]]));

// ---- filters -------------------------------------------------------------------------------------------------------

function Field({ name, label, params, change, search, rare }) {
  const [value, set] = useState(params[name] ?? "");
  const timer = useRef();
  useEffect(() => { set(params[name] ?? ""); }, [params[name]]);
  const input = event => {
    const text = event.target.value;
    set(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => change({ [name]: text }), 250);
  };
  return html`<label class=${"field" + (rare && !params[name] ? " rare" : "")}><span>${label}</span><input type="search" value=${value} onInput=${input}
    data-search=${search ? "" : undefined} autocomplete="off" spellcheck=${false} /></label>`;
}

// A time of the address in words: seconds since the epoch, or, below 0, ago.
const said = (text, word) => {
  const n = Number(text);
  return `${word} ${n < 0 ? span(-n) + " ago" : local(n, Date.now() / 1000) || text}`;
};

function Filters({ params, change, counts }) {
  const chosen = new Set((params.state ?? "").split(",").filter(Boolean));
  const [all, setAll] = useState(false); // where there is little room, seldom used ones are shown when asked for
  const toggle = state => {
    const next = new Set(chosen);
    if (!next.delete(state)) next.add(state);
    change({ state: [...next].join(",") });
  };
  return html`<form class="filters" role="search" aria-label="Filters" onSubmit=${event => event.preventDefault()}>
    <div class="chips" role="group" aria-label="States">
      <button type="button" class="chip" aria-pressed=${chosen.size === 0 ? "true" : "false"} onClick=${() => change({ state: "" })}
        >all <b>${counts ? number(counts.total) + (counts.more ? "+" : "") : ""}</b></button>
      ${STATES.map(state => html`<button type="button" class=${"chip s-" + state} aria-pressed=${chosen.has(state) ? "true" : "false"}
        onClick=${() => toggle(state)} data-zero=${counts && !counts[state] ? "" : undefined}><${Shape} state=${state} />${state}
        <b>${counts ? number(counts[state] ?? 0) : ""}</b></button>`)}</div>
    <div class=${"fields" + (all ? " all" : "")}><${Field} name="text" label="Search" search=${true} params=${params} change=${change} />
      <${Field} name="class" rare=${true} label="Class" params=${params} change=${change} />
      <${Field} name="queue" rare=${true} label="Queue" params=${params} change=${change} />
      <${Field} name="key" rare=${true} label="Key" params=${params} change=${change} />
      <${Field} name="error" rare=${true} label="Last error has" params=${params} change=${change} />
      <label class="field"><span>Started</span><select value=${params.since ?? ""}
        onChange=${event => change({ since: event.target.value })}>${SINCE.map(([value, label]) =>
          html`<option value=${value} selected=${value === (params.since ?? "")}>${label}</option>`)}
        ${params.since && !SINCE.some(([value]) => value === params.since) && html`<option value=${params.since} selected>${said(params.since, "since")}</option>`}</select></label>
      ${params.until && html`<button type="button" class="chip" title="leave this filter out" onClick=${() => change({ until: "" })}>${said(params.until, "until")} ×</button>`}
      ${!all && html`<button type="button" class="quiet only-narrow" onClick=${() => setAll(true)}>More filters</button>`}
      ${Object.keys(filtersOf(params)).length > 0 && html`<button type="button" class="quiet" onClick=${() => go("pipelines")}
        >Clear</button>`}</div></form>`;
}

// ---- the list ------------------------------------------------------------------------------------------------------

function Row({ entry, selected, toggle, may }) {
  const to = href("pipeline", { id: entry.id });
  const problem = entry.state === "aborted" ? entry.reason : entry.last_error;
  return html`<tr class=${selected ? "selected" : ""} data-id=${entry.id}>
    ${may && html`<td class="check"><input type="checkbox" checked=${selected} onChange=${toggle}
      aria-label=${"select " + entry.class + " " + entry.id} /></td>`}
    <td class="c-state"><${State} state=${entry.state} title=${entry.state_words} /></td>
    <td class="c-class"><a href=${to} class="rowlink"><${ClassName} name=${entry.class} /></a>
      <${Id} id=${entry.key ?? entry.id} /></td>
    <td class="c-note">${problem ? html`<${Foreign} class="error" title=${problem}>${cause(problem)}</${Foreign}>`
      : html`<${Foreign} class="said" title=${entry.message ?? entry.state_words}>${entry.message ?? (isFinal(entry.state) ? "" : withLocalTimes(entry.state_words, now()))}</${Foreign}>`}</td>
    <td class="c-children"><${Progress} children=${entry.stages ?? entry.children} /></td>
    <td class="c-time num"><${Ago} time=${entry.created} /></td>
    <td class="c-took num"><${Took} from=${entry.created} to=${entry.ended} live=${!isFinal(entry.state)} /></td></tr>`;
}

export function List({ items, selected, toggle, toggleAll, may, label }) {
  const all = items.length > 0 && items.every(entry => selected.has(entry.id));
  const body = useRef();
  const keys = event => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const links = [...body.current.querySelectorAll("a.rowlink")];
    const at = links.indexOf(document.activeElement);
    const next = links[Math.max(0, Math.min(links.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))];
    if (next) { event.preventDefault(); next.focus(); }
  };
  return html`<table class="list pipelines" aria-label=${label} onKeyDown=${keys}><thead><tr>
    ${may && html`<th class="check"><input type="checkbox" checked=${all} onChange=${() => toggleAll(!all)} aria-label="select all shown" /></th>`}
    <th>State</th><th>Pipeline</th><th>Details</th><th>Stages</th><th class="num">Started</th><th class="num">Took</th></tr></thead>
    <tbody ref=${body}>${items.map(entry => html`<${Row} key=${entry.id} entry=${entry} may=${may}
      selected=${selected.has(entry.id)} toggle=${() => toggle(entry.id)} />`)}</tbody></table>`;
}

export function Pipelines({ params, may }) {
  const filters = filtersOf(params);
  const cursors = (params.cursor ?? "").split(" ").filter(Boolean);
  const answer = useAnswer("pipelines", { ...filters, cursor: cursors.at(-1), limit: 50 });
  const counts = useAnswer("counts", filters);
  const [selected, setSelected] = useState(new Set());
  const [all, setAll] = useState(false);
  const clear = () => { setSelected(new Set()); setAll(false); };
  const change = part => { clear(); go("pipelines", { ...filters, ...part }, { replace: ["text", "class", "queue", "key", "error"].some(name => name in part) }); };
  const toggle = id => { const next = new Set(selected); if (!next.delete(id)) next.add(id); setAll(false); setSelected(next); };
  const items = answer.data?.items ?? [];
  const toggleAll = on => { setAll(false); setSelected(on ? new Set(items.map(entry => entry.id)) : new Set()); };
  const total = chosenTotal(counts.data, filters.state);
  useKeysOfList();
  return html`<div class="head"><h1>Pipelines</h1></div>
    <${Filters} params=${params} change=${change} counts=${counts.data} />
    ${may && html`<${ActsOnMany} asked=${all ? { filters: { until: answer.data?.now, ...filters } } : { ids: [...selected] }}
      shown=${all ? total : selected.size} more=${all && counts.data?.more} clear=${clear} />`}
    ${selected.size > 0 && !all && selected.size === items.length && total > items.length && html`<p class="more">All ${number(items.length)} on this
      page are selected. <button type="button" class="link" onClick=${() => setAll(true)}>Select all ${number(total)}${counts.data?.more
      ? "+" : ""} that the filters find</button></p>`}
    ${answer.data && answer.error && html`<${Problem} error=${answer.error} />`}
    <${Loading} answer=${answer}>${items.length ? html`<${List} items=${items} selected=${all ? new Set(items.map(e => e.id)) : selected}
      toggle=${toggle} toggleAll=${toggleAll} may=${may} label="Pipelines" />`
      : html`<${Empty}>${Object.keys(filters).length ? "No pipeline fits these filters."
        : html`Nothing has been started yet. A program does it, or the shell: <code>pipeline start CLASS --module FILE.lua</code>`}</${Empty}>`}
    <div class="row pager">${cursors.length > 0 && html`<button type="button" onClick=${() => go("pipelines", { ...filters,
        cursor: cursors.slice(0, -1).join(" ") })}>Newer</button>`}
      ${answer.data?.cursor && html`<button type="button" onClick=${() => { clear(); go("pipelines", { ...filters,
        cursor: [...cursors, answer.data.cursor].join(" ") }); scrollTo(0, 0); }}>Older</button>`}</div></${Loading}>`;
}

function chosenTotal(counts, state) {
  if (!counts) return 0;
  if (!state) return counts.total ?? 0;
  return state.split(",").reduce((sum, word) => sum + (counts[word] ?? 0), 0);
}

// An arrow anywhere on the page goes to the list.
export function useKeysOfList() {
  useEffect(() => {
    const fn = event => {
      if ((event.key !== "ArrowDown" && event.key !== "ArrowUp") || event.target !== document.body) return;
      const first = document.querySelector("table.list a.rowlink");
      if (first) { event.preventDefault(); first.focus(); }
    };
    addEventListener("keydown", fn);
    return () => removeEventListener("keydown", fn);
  }, []);
}

