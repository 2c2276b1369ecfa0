// tree.js - the stages of a pipeline as a tree: only the rows in sight are there, so that thousands scroll.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { ClassName, Foreign, Progress, State, Took, html, isFinal } from "../parts.js";
import { get } from "../server.js";
import { cause } from "../format.js";

const FIRST = 120, WHOLE_MAX = 5000, LEVEL = 500;
const ROW = 30, SPARE = 12;

// ---- the stages that are known ---------------------------------------------------------------------------------------

// Whole trees are read whole; larger ones level by level, as they are opened.
export class Model {
  constructor(id) {
    this.id = id;
    this.byId = new Map();
    this.children = new Map(); // id -> ids
    this.more = new Map(); // id -> cursor of the next children, of a tree that is read by levels
    this.root = null;
    this.byLevels = false;
  }

  add(page, parent) {
    if (!this.root && page.items[0]) this.root = page.items[0].id;
    for (const entry of page.items) {
      entry.queue ??= "default"; // what a brief answer leaves out
      entry.attempt ??= 1;
      if (entry.id === parent && this.byId.has(parent)) { this.byId.set(entry.id, entry); continue; }
      if (!this.byId.has(entry.id) && entry.id !== this.root) {
        const of = entry.parent ?? this.root;
        if (!this.children.has(of)) this.children.set(of, []);
        this.children.get(of).push(entry.id);
      }
      this.byId.set(entry.id, entry);
    }
    return this;
  }

  childrenOf(id) { return this.children.get(id) ?? []; }
  hasChildren(id) { return this.childrenOf(id).length > 0 || (this.byId.get(id)?.children?.total ?? 0) > 0; }
  pathTo(id) {
    const path = [];
    for (let entry = this.byId.get(id); entry && entry.parent; entry = this.byId.get(entry.parent)) path.push(entry.parent);
    return path;
  }
}

// How many stages there are at least below the root: the children that those which are known have.
const leastOf = model => [...model.byId.values()].reduce((sum, entry) => sum + (entry.children?.total ?? 0), 0);

async function readWhole(id, show) {
  const model = new Model(id);
  let page = await get("tree", { brief: true, id, limit: FIRST });
  model.add(page);
  while (page.cursor && model.byId.size < WHOLE_MAX) {
    if (leastOf(model) > WHOLE_MAX) return null;
    show?.(model);
    page = await get("tree", { brief: true, id, limit: WHOLE_MAX, cursor: page.cursor });
    model.add(page);
  }
  return page.cursor ? null : Object.assign(model, { now: page.now });
}

export async function readLevel(model, parent, cursor) {
  const page = await get("tree", { brief: true, id: model.id, parent, depth: 1, limit: LEVEL, cursor });
  model.add(page, parent);
  if (page.cursor) model.more.set(parent, page.cursor);
  else model.more.delete(parent);
  model.now = page.now;
  return model;
}

async function readLevels(id, open) {
  const model = new Model(id);
  model.byLevels = true;
  const page = await get("tree", { brief: true, id, depth: 1, limit: LEVEL });
  model.add(page);
  if (page.cursor) model.more.set(model.root, page.cursor);
  for (const parent of open) // a parent is opened before its children
    if (model.byId.has(parent) && parent !== model.root) await readLevel(model, parent);
  model.now = page.now;
  return model;
}

// The model of a tree; `old`: the one before, `open`: what is open in it, `show`: called with a part of it.
export async function readTree(id, old, open, show) {
  if (!old?.byLevels) {
    const model = await readWhole(id, old ? null : show);
    if (model) return model;
  }
  return readLevels(id, open);
}

// ---- what is open ------------------------------------------------------------------------------------------------------

const SMALL = 300;

export function firstOpen(model) {
  const open = new Set();
  if (!model.root) return open;
  open.add(model.root);
  if (model.byLevels) return open;
  for (const [id, entry] of model.byId) {
    if (model.byId.size <= SMALL && model.childrenOf(id).length) open.add(id);
    if (entry.state === "aborted" || entry.last_error)
      for (const above of model.pathTo(id)) open.add(above);
  }
  return open;
}

export const wordsOf = search => search.toLowerCase().split(/\s+/).filter(Boolean);

// Whether all words of a search are in what is said of a stage.
export const matches = (entry, words) => {
  const text = [entry.class, entry.id, entry.state, entry.message, entry.last_error, entry.reason, entry.queue].join("\n").toLowerCase();
  return words.every(word => text.includes(word));
};

// Rows in order: { entry, level, open, size, at } or { more: parent, level }.
export function rowsOf(model, open, search) {
  const rows = [];
  const words = wordsOf(search);
  let kept = null;
  if (words.length) {
    kept = new Set();
    for (const [id, entry] of model.byId)
      if (matches(entry, words)) { kept.add(id); model.pathTo(id).forEach(above => kept.add(above)); }
  }
  const walk = (ids, level) => {
    const shown = kept ? ids.filter(id => kept.has(id)) : ids;
    shown.forEach((id, at) => {
      const isOpen = kept ? true : open.has(id);
      rows.push({ entry: model.byId.get(id), level, open: isOpen, at: at + 1, size: shown.length, found: kept && matches(model.byId.get(id), words) });
      if (!isOpen) return;
      walk(model.childrenOf(id), level + 1);
      if (model.more.has(id)) rows.push({ more: id, level: level + 1, left: (model.byId.get(id).children?.total ?? 0) - model.childrenOf(id).length });
    });
  };
  if (model.root) walk([model.root], 0);
  return rows;
}

// ---- the view ------------------------------------------------------------------------------------------------------------

function Row({ row, top, selected, choose, toggle, hasChildren }) {
  const { entry, level } = row;
  const problem = entry.state === "aborted" ? entry.reason : entry.last_error;
  return html`<div class=${"treerow" + (selected ? " selected" : "") + (row.found ? " found" : "") + (entry.state === "aborted" && !problem ? " swept" : "")} role="treeitem" id=${"t-" + entry.id}
    data-id=${entry.id} aria-level=${level + 1} aria-selected=${selected ? "true" : "false"} aria-setsize=${row.size} aria-posinset=${row.at}
    aria-expanded=${hasChildren ? (row.open ? "true" : "false") : undefined} style=${{ top: top + "px", "--level": level }} onClick=${choose}>
    <span class=${"twist" + (hasChildren ? "" : " none")} onClick=${event => { event.stopPropagation(); toggle(); }} aria-hidden="true"></span>
    <${State} state=${entry.state} title=${entry.state_words} /><${ClassName} name=${entry.class} />
    ${entry.attempt > 1 && html`<span class="attempt" title=${`attempt ${entry.attempt} of ${entry.max_attempts}`}>×${entry.attempt}</span>`}
    <${Foreign} class=${problem ? "error" : "said"} title=${problem ?? entry.message}>${problem ? cause(problem) : entry.message ?? ""}</${Foreign}>
    <${Progress} children=${entry.children} />
    <span class="took num"><${Took} from=${entry.started ?? entry.created} to=${entry.ended} live=${!isFinal(entry.state)} /></span></div>`;
}

export function Tree({ model, open, setOpen, search, selected, select, enter, grow }) {
  const box = useRef();
  const [view, setView] = useState({ top: 0, height: 600 });
  const rows = useMemo(() => rowsOf(model, open, search), [model, open, search, model.byId.size, model.more.size]);
  const at = rows.findIndex(row => row.entry && row.entry.id === selected);
  const look = () => setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  useLayoutEffect(() => {
    look();
    const seen = new ResizeObserver(look);
    seen.observe(box.current);
    return () => seen.disconnect();
  }, []);
  useEffect(() => { // what is selected is in sight
    if (at < 0 || !box.current) return;
    const top = at * ROW, { scrollTop, clientHeight } = box.current;
    if (top < scrollTop) box.current.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) box.current.scrollTop = top + ROW - clientHeight;
  }, [selected, search]);
  const toggle = id => {
    const next = new Set(open);
    if (!next.delete(id)) {
      next.add(id);
      if (model.byLevels && !model.childrenOf(id).length) grow(id);
    }
    setOpen(next);
  };
  const keys = event => {
    const row = rows[at];
    const pick = to => { const next = rows[to]; if (next?.entry) select(next.entry.id); };
    const page = Math.max(1, Math.floor(view.height / ROW) - 1);
    const does = {
      ArrowDown: () => pick(Math.min(rows.length - 1, at + 1)), ArrowUp: () => pick(Math.max(0, at - 1)),
      PageDown: () => pick(Math.min(rows.length - 1, at + page)), PageUp: () => pick(Math.max(0, at - page)),
      Home: () => pick(0), End: () => pick(rows.length - 1), Enter: () => row && enter?.(row.entry.id),
      ArrowRight: () => { if (row && model.hasChildren(row.entry.id)) row.open ? pick(at + 1) : toggle(row.entry.id); },
      ArrowLeft: () => { if (row) row.open && model.hasChildren(row.entry.id) && !search ? toggle(row.entry.id) : row.entry.parent && select(row.entry.parent); },
    }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    does();
  };
  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + SPARE);
  return html`<div class="tree" role="tree" aria-label="Stages" tabindex="0" ref=${box} style=${{ height: `min(${rows.length * ROW + 4}px, var(--most))` }} onScroll=${look} onKeyDown=${keys}
    aria-activedescendant=${at >= first && at < last ? "t-" + selected : undefined}>
    <div class="treespace" role="presentation" style=${{ height: rows.length * ROW + "px" }}>${rows.slice(first, last).map((row, i) => {
      const top = (first + i) * ROW;
      if (row.more) return html`<div key=${"more " + row.more} class="treerow moreRow" role="none" style=${{ top: top + "px", "--level": row.level }}>
        <button type="button" class="link" onClick=${() => grow(row.more, model.more.get(row.more))}>${row.left > 0 ? row.left.toLocaleString() : ""} more</button></div>`;
      const { id } = row.entry;
      return html`<${Row} key=${id} row=${row} top=${top} selected=${id === selected} hasChildren=${model.hasChildren(id)}
        choose=${() => select(id)} toggle=${() => toggle(id)} />`;
    })}</div></div>`;
}
