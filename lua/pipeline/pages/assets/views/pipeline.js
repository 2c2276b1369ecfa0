// pipeline.js - one pipeline: its stages as tree, timeline and graph, linked by what is selected; beside it that stage.
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { Ago, ClassName, Copy, Id, Loading, Problem, State, Took, go, href, html, isFinal, readRoute } from "../parts.js";
import { useAnswer } from "../server.js";
import { plural } from "../format.js";
import { Tree, firstOpen, readLevel, readTree, rowsOf } from "../shapes/tree.js";
import { Timeline } from "../shapes/timeline.js";
import { Graph } from "../shapes/graph.js";
import { Journal } from "./journal.js";
import { Log, Stage, StageActs } from "./stage.js";

const SHAPES = [["tree", "Tree"], ["timeline", "Timeline"], ["graph", "Graph"], ["log", "Log"]];
const JOURNAL = ["journal", "Journal"]; // of durable functions

function Head({ root, may }) {
  return html`<div class="head pipelinehead"><div><h1><${ClassName} name=${root.class} /></h1>
    <p class="facts"><${State} state=${root.state} /><span class="idline"><${Id} id=${root.id} /><${Copy} text=${root.id} what="the id" /></span>
    ${root.key && root.key !== root.id && html`<span>key <bdi class="id">${root.key}</bdi></span>`}
    <span>started <${Ago} time=${root.created} /></span>
    <span>${isFinal(root.state) ? "took" : "for"} <${Took} from=${root.created} to=${root.ended} live=${!isFinal(root.state)} /></span></p></div>
    <${StageActs} stage=${root} may=${may} isRoot=${true} /></div>`;
}

export function Pipeline({ params, may }) {
  const id = params.id ?? "";
  const state = useRef({ model: null, open: new Set() });
  if (state.current.id !== id) state.current = { id, model: null, open: new Set(), touched: false };
  const [, redraw] = useState(0);
  const again = () => redraw(n => n + 1);
  const answer = useAnswer(id ? "tree" : null, { id }, async () => {
    const mine = state.current;
    const take = model => {
      mine.model = model;
      if (!mine.touched) mine.open = firstOpen(model);
      again();
    };
    const model = await readTree(id, mine.model, mine.open, take);
    if (state.current === mine) take(model);
    return { now: model.now, root: model.root };
  });
  const [search, setSearch] = useState("");
  const { model, open } = state.current;
  const root = model?.root;
  const selected = params.stage && model?.byId.has(params.stage) ? params.stage : root;
  const isDurable = Boolean(model?.byId.get(selected)?.durable);
  const shapes = isDurable ? [...SHAPES, JOURNAL] : SHAPES;
  const view = shapes.some(([name]) => name === params.view) ? params.view : "tree";
  // Keys may come faster than the page is drawn: what is changed is what the address says by then.
  const select = stage => go("pipeline", { ...readRoute().params, stage: stage === root ? "" : stage }, { replace: true });
  const show = name => go("pipeline", { ...readRoute().params, view: name === "tree" ? "" : name }, { replace: true });
  const setOpen = next => { state.current.open = next; state.current.touched = true; again(); };
  const grow = async (parent, cursor) => {
    if (!state.current.open.has(parent)) setOpen(new Set(state.current.open).add(parent));
    await readLevel(state.current.model, parent, cursor);
    again();
  };
  useEffect(() => { // an address of any stage of it
    if (model && params.stage === undefined && id && id !== root && model.byId.has(id)) select(id);
  }, [root]);
  useEffect(() => {
    const fn = event => {
      if (event.target instanceof Element && event.target.closest("input, textarea, select, dialog")) return;
      const at = ["1", "2", "3", "4", "5"].indexOf(event.key);
      if (at >= 0 && at < shapes.length && !event.ctrlKey && !event.metaKey && !event.altKey) show(shapes[at][0]);
      else if (event.key.startsWith("Arrow") && event.target === document.body)
        document.querySelector(".tree, .timeline, .graph .node.selected")?.focus();
    };
    addEventListener("keydown", fn);
    return () => removeEventListener("keydown", fn);
  });
  if (!id || (!model && answer.error)) return html`<div class="head"><h1>Pipeline</h1></div>
    <${Problem} error=${id ? answer.error : { message: "Which one? The address has no id." }} /><p><a class="go" href=${href("pipelines")}>All pipelines</a></p>`;
  if (!model) return html`<${Loading} answer=${{ data: null, error: null }} />`;
  const rootEntry = model.byId.get(root);
  const rows = view === "timeline" ? rowsOf(model, open, search) : null;
  const enterFound = event => { // Enter goes to the first that is found, and arrows go on from there
    if (event.key !== "Enter" || !search || view === "log") return;
    event.preventDefault();
    const found = rowsOf(model, open, search).find(row => row.found);
    if (!found) return;
    select(found.entry.id);
    document.getElementById("g-" + found.entry.id)?.focus();
    document.querySelector(".tree, .timeline")?.focus();
  };
  const enter = () => document.querySelector(".stagebox")?.focus();
  return html`<${Head} root=${rootEntry} may=${may} />
    ${answer.error && html`<${Problem} error=${answer.error} />`}
    <div class="split"><section class="shapes" aria-label="Stages">
      <div class="bar"><div class="tabs" role="tablist" aria-label="How the stages are shown">${shapes.map(([name, title]) => html`<button type="button" role="tab"
        aria-selected=${name === view ? "true" : "false"} onClick=${() => show(name)}>${title}</button>`)}</div>
        ${view !== "journal" && html`<input type="search" data-search class="find" placeholder=${view === "log" ? "Find in the log" : "Find a stage"} aria-label=${view === "log" ? "Find in the log" : "Find a stage"} value=${search}
          onInput=${event => setSearch(event.target.value)} onKeyDown=${enterFound} />`}
        <span class="count">${model.byLevels ? plural(rootEntry.children?.total ?? 0, "child", "children") : plural(model.byId.size, "stage")}</span></div>
      ${view === "tree" && html`<${Tree} model=${model} open=${open} setOpen=${setOpen} search=${search} selected=${selected} select=${select} enter=${enter} grow=${grow} />`}
      ${view === "timeline" && html`<${Timeline} rows=${rows} selected=${selected} select=${select} now=${model.now ?? 0} />`}
      ${view === "graph" && html`<${Graph} id=${root} selected=${selected} select=${select} search=${search} seen=${stage => model.byId.get(stage)} />`}
      ${view === "log" && html`<${Log} id=${root} search=${search} />`}
      ${view === "journal" && html`<${Journal} key=${selected} id=${selected} root=${root} may=${may} />`}</section>
    <section class="stagebox" tabindex="-1" aria-label="The selected stage"><${Stage} id=${selected} root=${root} may=${may} beside=${view !== "journal"} /></section></div>`;
}

