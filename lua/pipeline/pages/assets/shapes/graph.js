// graph.js - who waits for whose output: slots as lines, "after" dashed. In layers, from left to right.
import { ClassName, Empty, Loading, Shape, html } from "../parts.js";
import { useAnswer } from "../server.js";
import { wordsOf, matches } from "./tree.js";

const WIDTH = 190, HEIGHT = 34, GAP_X = 64, GAP_Y = 14;

// Layer of each node: one behind the last it waits for; children that wait for nothing one behind their parent.
function layers(nodes, edges) {
  const from = new Map(nodes.map(node => [node.id, []]));
  for (const edge of edges) from.get(edge.to)?.push(edge.from);
  for (const node of nodes) if (node.parent && !from.get(node.id).length && from.has(node.parent)) from.get(node.id).push(node.parent);
  const layer = new Map(), busy = new Set();
  const of = id => {
    if (layer.has(id)) return layer.get(id);
    if (busy.has(id)) return 0;
    busy.add(id);
    const n = Math.max(-1, ...from.get(id).map(of)) + 1;
    busy.delete(id);
    layer.set(id, n);
    return n;
  };
  nodes.forEach(node => of(node.id));
  return layer;
}

function layout(nodes, edges) {
  const layer = layers(nodes, edges);
  const columns = [];
  for (const node of nodes) (columns[layer.get(node.id)] ??= []).push(node);
  const place = new Map();
  columns.forEach(column => column.forEach((node, i) => place.set(node.id, i)));
  const near = new Map(nodes.map(node => [node.id, []]));
  for (const edge of edges) { near.get(edge.to)?.push(edge.from); near.get(edge.from)?.push(edge.to); }
  for (let round = 0; round < 6; round++) // towards the middle of their neighbours
    for (const column of round % 2 ? [...columns].reverse() : columns) {
      const middle = new Map(column.map(node => {
        const list = near.get(node.id).map(id => place.get(id) ?? 0);
        return [node.id, list.length ? list.reduce((a, b) => a + b, 0) / list.length : place.get(node.id)];
      }));
      column.sort((a, b) => middle.get(a.id) - middle.get(b.id));
      column.forEach((node, i) => place.set(node.id, i));
    }
  const tallest = Math.max(...columns.map(column => column.length));
  const at = new Map();
  columns.forEach((column, x) => column.forEach((node, y) => at.set(node.id, {
    x: x * (WIDTH + GAP_X), y: (y + (tallest - column.length) / 2) * (HEIGHT + GAP_Y),
  })));
  return { at, width: columns.length * (WIDTH + GAP_X) - GAP_X, height: tallest * (HEIGHT + GAP_Y) - GAP_Y };
}

const curve = (a, b) => {
  const x1 = a.x + WIDTH, y1 = a.y + HEIGHT / 2, x2 = b.x - 7, y2 = b.y + HEIGHT / 2, bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
};

export function Graph({ id, selected, select, search, seen }) {
  const answer = useAnswer("graph", { id });
  return html`<${Loading} answer=${answer}><${Drawing} data=${answer.data} selected=${selected} select=${select} search=${search} seen=${seen} /></${Loading}>`;
}

// `seen(id)`: what is known of a stage elsewhere, so that a search finds by the same words in all pictures.
function Drawing({ data, selected, select, search, seen }) {
  if (!data) return null;
  const { nodes, edges } = data;
  if (data.too_large) return html`<${Empty}>This tree has more than ${data.too_large} stages: too many for a picture. The tree and the timeline show them.</${Empty}>`;
  const { at, width, height } = layout(nodes, edges);
  const linked = new Set(edges.filter(edge => edge.from === selected || edge.to === selected).flatMap(edge => [edge.from, edge.to]));
  const words = wordsOf(search);
  const found = new Set(words.length ? nodes.filter(node => matches({ ...seen(node.id), ...node }, words)).map(node => node.id) : []);
  const look = node => (node.id === selected ? " selected" : linked.has(node.id) ? " near" : "") + (found.has(node.id) ? " found" : words.length ? " dim" : "");
  const keys = (event, i) => {
    const to = event.key === "ArrowDown" || event.key === "ArrowRight" ? i + 1 : event.key === "ArrowUp" || event.key === "ArrowLeft" ? i - 1 : -1;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(nodes[i].id); }
    if (to < 0 || to >= nodes.length) return;
    event.preventDefault();
    select(nodes[to].id);
    document.getElementById("g-" + nodes[to].id)?.focus();
  };
  return html`<div class="graph"><div class="canvas" style=${{ width: width + 4 + "px", height: height + 4 + "px" }}>
    <svg width=${width + 4} height=${height + 4} viewBox=${`-2 -2 ${width + 4} ${height + 4}`} aria-hidden="true">
      <defs><marker id="tip" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0.6 7 4 0 7.4z" fill="context-stroke" /></marker></defs>
      ${nodes.filter(node => node.parent && !edges.some(edge => edge.to === node.id)).map(node => at.has(node.parent) && html`<path key=${"c" + node.id} class="edge child"
        d=${curve(at.get(node.parent), at.get(node.id))} />`)}
      ${edges.map((edge, i) => at.has(edge.from) && at.has(edge.to) && html`<path key=${i} class=${"edge " + edge.kind + (edge.from === selected || edge.to === selected ? " near" : "")}
        d=${curve(at.get(edge.from), at.get(edge.to))} marker-end="url(#tip)" />`)}</svg>
    ${nodes.map((node, i) => html`<button key=${node.id} id=${"g-" + node.id} type="button" class=${"node s-" + node.state + look(node)}
      aria-pressed=${node.id === selected ? "true" : "false"} style=${{ left: at.get(node.id).x + 2 + "px", top: at.get(node.id).y + 2 + "px", width: WIDTH + "px", height: HEIGHT + "px" }}
      title=${node.class} onClick=${() => select(node.id)} onKeyDown=${event => keys(event, i)}><${Shape} state=${node.state} label=${true} /><${ClassName} name=${node.class} /></button>`)}</div>
    <p class="legend"><span class="key slot"></span>waits for an output <span class="key after"></span>after <span class="key child"></span>started by</p></div>`;
}
