// browse.mjs - drives a browser over the pages of a program at work and prints a line of JSON for each thing that was
// seen: { name, ok, detail }. Called by browser_spec.lua, which says where everything is in its environment.
import { createRequire } from "module";
import { spawn } from "child_process";
import { createInterface } from "readline";
import { mkdirSync, readFileSync } from "fs";

const { BROWSER_MODULES, CHROMIUM, LUA, SPEC_DIR, WORK_DIR, SHOTS, PACE = "1" } = process.env;
const require = createRequire(BROWSER_MODULES + "/");
const { chromium } = require("playwright-core");
const pace = Number(PACE), ADMIN = "admin-token-of-specs", VIEWER = "viewer-token-of-specs";
const WAIT = 20000 * pace;
mkdirSync(SHOTS, { recursive: true });

const say = (name, ok, detail) => console.log(JSON.stringify({ name, ok, detail }));

// ---- the program --------------------------------------------------------------------------------------------------

let program = null, port = 0;
async function startProgram() {
  program = spawn(LUA, [SPEC_DIR + "/served.lua", WORK_DIR + "/pages.db", String(port), ADMIN, VIEWER], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: program.stdout })) { port = Number(line); break; }
}
const stopProgram = () => new Promise(resolve => {
  if (!program || program.exitCode !== null || program.signalCode) return resolve();
  program.once("exit", resolve);
  program.kill("SIGKILL");
});
const base = () => `http://127.0.0.1:${port}/_ah/pipeline/`;
const tell = async (name, n) => (await fetch(`http://127.0.0.1:${port}/spec/${name}${n ? "?n=" + n : ""}`, { method: "POST" })).text();
const api = async path => (await fetch(base() + "api/" + path, { headers: { Authorization: "Bearer " + VIEWER } })).json();
async function until(fn, what) {
  const end = Date.now() + WAIT;
  for (;;) {
    const value = await fn();
    if (value) return value;
    if (Date.now() > end) throw new Error("not seen in time: " + what);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
const final = id => until(async () => { const { stage } = await api("stage?id=" + encodeURIComponent(id)); return ["done", "aborted"].includes(stage?.state) && stage; }, id);

// ---- the browser --------------------------------------------------------------------------------------------------

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const said = []; // by consoles, and dialogs: nothing is
let expectsTrouble = false;
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  context.setDefaultTimeout(WAIT);
  const page = await context.newPage();
  page.on("console", message => { if (!expectsTrouble) said.push(message.text()); });
  page.on("pageerror", error => said.push(error.stack));
  page.on("dialog", dialog => { said.push("dialog " + dialog.message()); dialog.dismiss(); });
  return page;
}
async function signedIn(options, token = ADMIN) {
  const page = await open(options);
  await page.goto(base());
  await page.fill("input[name=token]", token);
  await page.click("button[type=submit]");
  await page.waitForSelector("nav a");
  return page;
}
const text = async (page, selector) => (await page.textContent(selector)).replace(/\s+/g, " ").trim();
const must = (is, what) => { if (!is) throw new Error(what); };
async function check(name, fn) {
  const before = said.length;
  try {
    const detail = await fn();
    const more = said.slice(before);
    if (more.length) throw new Error("the console said: " + more.join(" | ").slice(0, 600));
    say(name, true, detail ?? null);
  } catch (error) {
    say(name, false, String(error.stack ?? error).slice(0, 1500));
  }
}

// ---- what is looked at ----------------------------------------------------------------------------------------------

let page;
await startProgram();

await check("sign in", async () => {
  page = await open();
  await page.goto(base());
  await page.fill("input[name=token]", "wrong-token-1");
  expectsTrouble = true; // Chromium mentions what was refused
  await page.click("button[type=submit]");
  await page.waitForSelector(".problem");
  expectsTrouble = false;
  await page.fill("input[name=token]", ADMIN);
  await page.click("button[type=submit]");
  await page.waitForSelector("nav a");
  await page.waitForSelector(".link.live");
  must(await page.locator(".banner").count() === 0, "a banner although there are tokens");
});

await check("a pipeline is watched from start to done", async () => {
  await page.click("nav >> text=Pipelines");
  await page.waitForSelector(".empty, table.list");
  const id = await tell("slow");
  await page.waitForSelector(`tr[data-id="${id}"] .s-executing`);
  await page.click(`tr[data-id="${id}"] a.rowlink`);
  await page.waitForSelector(".pipelinehead .s-executing");
  await tell("finish");
  await page.waitForSelector(".pipelinehead .s-done");
  await page.goBack();
  await page.waitForSelector(`tr[data-id="${id}"] .s-done`);
});

await check("filters are in the address", async () => {
  await final(await tell("order"));
  const failed = await tell("fails");
  await final(failed);
  await page.goto(base() + "pipelines");
  await page.waitForSelector("table.list");
  await page.click(".chip.s-aborted");
  await page.waitForFunction(() => location.search === "?state=aborted");
  await page.waitForFunction(() => [...document.querySelectorAll("tbody .c-state")].length > 0 && [...document.querySelectorAll("tbody .c-state .state")].every(e => e.textContent === "aborted"));
  await page.reload();
  await page.waitForSelector('.chip.s-aborted[aria-pressed="true"]');
  await page.fill("[data-search]", "Order");
  await page.waitForFunction(() => location.search.includes("text=Order"));
  await page.waitForSelector(`tr[data-id="${failed}"]`);
  await page.click("text=Clear");
  await page.waitForFunction(() => location.search === "");
});

await check("a failure is found from home in two clicks", async () => {
  await page.goto(base());
  await page.click(".need .few a");
  await page.click(".cause a");
  await page.waitForSelector(".attempts .error");
  must((await text(page, ".attempts")).includes("card declined"), "the error is not shown");
  must(await page.locator(".treerow.selected").count() === 1, "the stage is not selected in the tree");
});

await check("it is resumed on the page, and done", async () => {
  await tell("mend");
  await page.click("[data-act=resume]");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector(".pipelinehead .s-done");
});

await check("an async stage is completed on the page", async () => {
  await tell("asks");
  await page.goto(base() + "pipeline?id=order-17");
  await page.click('.treerow:has-text("Approve")');
  await page.waitForSelector(".stage [data-act=complete]");
  await page.click(".stage [data-act=complete]");
  await page.fill("dialog textarea", "true");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector(".pipelinehead .s-done");
});

await check("keys are enough", async () => {
  await page.goto(base() + "pipelines");
  await page.waitForSelector("table.list a.rowlink");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".tree");
  await page.goto(base() + "pipeline?id=order-17");
  await page.waitForSelector(".treerow");
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction(() => document.activeElement.classList.contains("tree"));
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction(() => document.querySelector(".treerow.selected")?.ariaLevel === "2");
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction(() => document.querySelector(".treerow.selected")?.ariaLevel === "1");
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction(() => document.querySelectorAll(".treerow").length === 1);
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => document.querySelectorAll(".treerow").length > 1);
  await page.keyboard.press("/");
  await page.keyboard.type("ship");
  await page.waitForFunction(() => document.querySelectorAll(".treerow.found").length === 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("2");
  await page.waitForSelector(".timeline .line");
  await page.keyboard.press("3");
  await page.waitForSelector(".graph .node");
  must(await page.locator(".edge.slot").count() >= 1 && await page.locator(".edge.after").count() >= 1, "edges are missing");
  await page.keyboard.press("?");
  await page.waitForSelector(".help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("q");
  await page.waitForFunction(() => location.pathname.endsWith("/queues"));
});

await check("a queue is paused and goes on", async () => {
  await tell("letter");
  await page.goto(base() + "queues");
  const row = page.locator('tr:has-text("mail")');
  await row.locator("text=Resume").click();
  await row.locator("text=Pause").waitFor();
  await until(async () => (await api("queues")).items.find(queue => queue.name === "mail" && !queue.paused), "the queue goes on");
  await row.locator("text=Pause").click();
  await row.locator("text=Resume").waitFor();
});

await check("many are resumed by their filter", async () => {
  const { items } = await api("pipelines?state=aborted&limit=1");
  must(items.length === 0, "something is aborted before");
  await stopProgram(); // broken again
  await startProgram();
  await tell("many");
  await until(async () => (await api("counts")).aborted === 120, "120 aborted");
  await tell("mend");
  await page.goto(base() + "pipelines?state=aborted");
  await page.waitForSelector("table.list");
  await page.check("thead input");
  await page.click("text=Select all 120");
  await page.click(".acts >> text=Resume");
  await page.waitForSelector('dialog:has-text("Resume 120 pipelines?")');
  await page.click("dialog button[type=submit]");
  await until(async () => (await api("counts")).aborted === 0, "none is aborted");
});

await check("hostile values are shown as text", async () => {
  const id = await tell("evil");
  await until(async () => (await api("pipelines?state=aborted")).items.length > 0, "it is aborted");
  for (const path of ["", "pipelines", "pipeline?id=" + encodeURIComponent(id), "pipeline?view=log&id=" + encodeURIComponent(id), "events"]) {
    await page.goto(base() + path);
    await page.waitForSelector("bdi");
    await page.waitForFunction(() => !document.querySelector(".loading"));
    must(await page.locator("main img, main script").count() === 0, "markup of a value in " + path);
    must(await page.locator('a[href^="javascript"]').count() === 0, "a script as an address in " + path);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    must(wide <= 0, `${path} is ${wide} px too wide`);
  }
});

await check("5,000 stages", async () => {
  const id = await tell("large", 5000);
  await until(async () => { const { stage } = await api("stage?id=" + id); return stage.state === "done"; }, "the large tree");
  const times = await (async () => {
    await page.goto(base() + "workers");
    await page.waitForSelector("h1");
    const started = Date.now();
    await page.evaluate(to => { history.pushState(null, "", to); dispatchEvent(new PopStateEvent("popstate")); }, base() + "pipeline?id=" + id);
    await page.waitForSelector(".treerow");
    const first = Date.now() - started;
    await page.waitForFunction(() => document.querySelector(".count")?.textContent.replace(/\D/g, "") === "5001");
    return { first, whole: Date.now() - started };
  })();
  must(await page.locator(".treerow").count() < 120, "too many rows");
  const frames = await page.evaluate(() => new Promise(resolve => {
    const tree = document.querySelector(".tree"), gaps = [];
    let last = performance.now(), n = 0;
    const step = now => {
      gaps.push(now - last);
      last = now;
      tree.scrollTop += 400;
      if (++n < 60) requestAnimationFrame(step); else resolve(gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)]);
    };
    requestAnimationFrame(step);
  }));
  must(times.first < 3000 * pace && times.whole < 10000 * pace, JSON.stringify(times));
  return { ...times, frame: Math.round(frames) };
});

await check("the page outlives its engine", async () => {
  await page.goto(base() + "pipelines");
  await page.waitForSelector(".link.live");
  expectsTrouble = true;
  await stopProgram();
  await page.waitForSelector(".link.away");
  must((await text(page, ".link")).startsWith("disconnected since"), "it does not say since when");
  await startProgram();
  const id = await tell("order");
  await page.waitForSelector(".link.live");
  await page.waitForSelector(`tr[data-id="${id}"]`);
  expectsTrouble = false;
});

await check("a viewer sees all and may change nothing", async () => {
  const viewer = await signedIn({}, VIEWER);
  for (const path of ["pipelines", "queues", "pipeline?id=order-17"]) {
    await viewer.goto(base() + path);
    await viewer.waitForSelector("table.list, .tree, .empty:not(.loading)");
    must(await viewer.locator(".acts button, .doing button, input[type=checkbox]").count() === 0, "acts in " + path);
  }
  must((await text(viewer, ".role")) === "viewer", "it does not say that one is a viewer");
  await viewer.context().close();
});

await check("every page fits, in both themes, and can be used by all", async () => {
  const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const failed = (await api("pipelines?state=aborted&limit=1")).items[0].id;
  const pages = { home: "", pipelines: "pipelines", pipeline: "pipeline?id=order-17", timeline: "pipeline?id=order-17&view=timeline",
    graph: "pipeline?id=order-17&view=graph", stage: "pipeline?id=" + encodeURIComponent(failed), queues: "queues", tasks: "tasks",
    workers: "workers", schedules: "schedules", events: "events" };
  const state = await page.context().storageState();
  for (const [width, height] of [[1440, 900], [360, 740]])
    for (const colorScheme of ["light", "dark"]) {
      const look = await open({ viewport: { width, height }, colorScheme, storageState: state });
      for (const [name, path] of Object.entries(pages)) {
        await look.goto(base() + path);
        await look.waitForSelector("main h1, main h2");
        await look.waitForFunction(() => !document.querySelector(".loading"));
        await look.waitForSelector(".link.live");
        const wide = await look.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        must(wide <= 0, `${name} is ${wide} px too wide at ${width}`);
        await look.screenshot({ path: `${SHOTS}/${name}-${width}-${colorScheme}.png` });
        if (width === 1440) {
          await look.evaluate(axe);
          const found = await look.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
          const serious = found.violations.filter(v => ["serious", "critical"].includes(v.impact));
          must(serious.length === 0, `${name} ${colorScheme}: ` + serious.map(v => `${v.id}: ${v.nodes[0].target} ${v.nodes[0].failureSummary}`).join("; ").slice(0, 900));
        }
      }
      await look.context().close();
    }
});

await browser.close();
await stopProgram();
say("end", true, null);
