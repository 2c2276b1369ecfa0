// pictures.mjs FOLDER - takes the pictures of the guide: pages of a shop at work (shop.lua), in Chromium. Called by
// `make screenshots`.
import { createRequire } from "module";
import { spawn } from "child_process";
import { createInterface } from "readline";

const { BROWSER_MODULES, CHROMIUM, LUA, WORK_DIR } = process.env;
const folder = process.argv[2];
const { chromium } = createRequire(BROWSER_MODULES + "/")("playwright-core");
const TOKEN = "admin-token-of-pictures";

const shop = spawn(LUA, ["spec/pages/shop.lua", WORK_DIR + "/shop.db", TOKEN], { stdio: ["ignore", "pipe", "inherit"] });
let told = null;
for await (const line of createInterface({ input: shop.stdout })) { told = JSON.parse(line); break; }
if (!told) process.exit(1);

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const context = await browser.newContext({ viewport: { width: 1120, height: 700 }, colorScheme: "light", locale: "en-GB" });
const page = await context.newPage();
const base = `http://127.0.0.1:${told.port}/_ah/pipeline/`;
await page.goto(base);
await page.fill("input[name=token]", TOKEN);
await page.click("button[type=submit]");
await page.waitForSelector("nav a");

async function take(name, path, selector, height = 560) {
  await page.setViewportSize({ width: 1120, height });
  await page.goto(base + path);
  await page.waitForSelector(selector);
  await page.waitForFunction(() => !document.querySelector(".loading"));
  await page.waitForTimeout(500); // what fades in has done so
  await page.screenshot({ path: `${folder}/${name}.png` });
}
await take("home", "", "main h2");
await take("pipeline", "pipeline?view=timeline&id=" + encodeURIComponent(told.pipeline), ".timeline .line");
await take("stage", "stage?id=" + encodeURIComponent(told.stage), "main h2");
await browser.close();
shop.kill("SIGKILL");
